"""The model of the disk: ops replayed on inodes in memory, never on real files.

It predicts the files after the first k ops of a recording, and so checks the interception itself: what a real
SIGKILL leaves must be what the ops before it predict. It also says what each op changes, in the smallest
steps that a disk may persist or lose. A new kind of op is one function and one line in a table ``EFFECTS``.
Profiles, and what persists, never come in.
"""

from .disk import Disk
from .inodes import UnmodelledError

__all__ = ["Disk", "UnmodelledError"]
