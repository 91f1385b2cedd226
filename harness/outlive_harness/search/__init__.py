"""Which plans are worth a trial: points, levels of crashes, samples, equivalent points, smaller plans.

A search of one fault goes level by level: crashes of the first run, then of the recoveries of distinct crash
states. This room may import ``trial`` and everything below. What failed before (``history``) is handed in as
plans, and the verdict is ``explore``'s.
"""
