"""From a stopped call to an op: which file of the box it is about, and what it will do there.

Each module decodes one family of system calls: a function a call, and a table ``CALLS`` that names them.
``decoder`` puts the tables together. A new system call is one function and one line in its family's table, a
line in ``filter``, and a number in ``abi``. What an op means for a crash point or a verdict never comes in.
"""

from .decoder import Decoder

__all__ = ["Decoder"]
