"""The world that a run sees and changes: the box, and how a pipeline is run in it.

A box is filled, run in, read and emptied, always at the same path. Declared services and the clock of a run
belong here too: each is started, reset before a trial, and compared after it. This room may import ``launch``
and the rooms below it. What a fault is, and what must be true of a crash state, never come in.
"""
