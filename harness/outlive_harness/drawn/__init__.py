"""Inputs and crashes that hypothesis draws: one golden run for each input, one plan judged, what failed kept.

The doors offer what is here: the fixture and ``strategies``. This room may import ``report`` and everything
below it, and it is the only one that knows hypothesis. pytest never comes in.
"""
