"""From scenarios to verdicts: golden run, search by each fault, confirmation, and the verdict.

Several scenarios are explored at a time, each by a generator that yields the jobs that it waits for. This
room may import ``history`` and everything below it. Explanations never come in, as a door hands in the
explainer; nor does the presentation of verdicts.
"""
