"""What is kept between runs: results, failures, baselines, golden runs, and trials of an unfinished run.

Files of it lie under ``.outlive/`` and beside scenarios; their formats are promises. This room may import
``search`` and everything below. When something is kept or taken is decided by ``explore`` and the doors.
"""
