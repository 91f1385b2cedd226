"""From a violation to the line to change: the sources of ops, causes, and repairs that were tried.

A run of its own follows the program's lines; repairs are applied to the recorded ops, and the crash states of
the changed recording are recovered from. This room may import the rooms below it, down
from ``explore``, to which a door hands it. It neither finds violations nor changes a verdict.
"""
