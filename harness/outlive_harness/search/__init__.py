"""The choice of plans: points, levels of crashes, samples, equivalent points, smaller plans.

A search of one fault goes level by level: crashes of the first run, then of the recoveries of distinct crash
states. This room may import ``trial`` and everything below it. Kept failures and verdicts never come in: it
takes regressions as plans, and ``explore`` concludes.
"""
