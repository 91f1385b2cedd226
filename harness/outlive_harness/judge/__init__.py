"""What must be true at a crash state and after its recovery: the truths, over data.

A truth compares trees of files, ops and contents with those of the golden run, and returns what is violated,
in words for a person. This room may import ``disk`` and ``results``. Runs, boxes that have to be filled, and
faults never come in: what it needs from them is handed in.
"""
