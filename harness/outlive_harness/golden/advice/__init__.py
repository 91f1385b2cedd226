"""What a user may declare so that a pipeline can be judged: guesses, proposals, and cures that were tried.

Each proposal has its reason, and is written as the user would write it: options to paste, or keywords.
"""
