"""Plain data that all rooms speak: keywords, scenarios, run specs, plans, ops, findings, trials, verdicts.

A module here holds data, and what follows from the data alone; any process can read it. This room may
import ``abi`` and nothing else of the harness. Code that runs, writes or judges anything never comes in, and
``scenario`` imports next to nothing: each run of a function scenario pays for it.
"""
