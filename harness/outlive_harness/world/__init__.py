"""The world that a run sees and changes: the box, and how a pipeline is run in it.

A box is filled, run in, read and emptied, always at the same path. Services that stand beside it, and the
clock that a run is lent, belong here as well: each is something that is started, reset before a trial, and
compared after it. This room may import the rooms below it, down from ``launch``. What a fault is, and what
must be true of a state, never comes in.
"""
