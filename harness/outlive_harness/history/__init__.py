"""What is kept between runs: results, failures, baselines, golden runs, and trials of an unfinished run.

The files are under ``.outlive/`` and beside scenarios, and their formats are promises. This room may import
``search`` and everything below it. Decisions to keep or to reuse something never come in: ``explore`` and the
doors make them.
"""
