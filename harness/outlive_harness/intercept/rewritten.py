"""Files that are truncated and rewritten, and when their writer has closed them.

ext4 writes such a file back at its close (ext4_release_file(), "replace via truncate"), unless another
process, even a reader, closed it meanwhile. Closes are not intercepted: the kernel is asked at each following
op whether a writer is left.
"""

from __future__ import annotations

import os
import stat

from outlive_harness.results.ops import Op

from .versions import is_closed

Identity = tuple[int, int]


class Rewritten:
    """The files of one run that were truncated and may still be open.

    Args:
        box: the real path of the box.
    """

    def __init__(self, box: bytes) -> None:
        self._box = os.fsdecode(box)
        #: their paths
        self._open: dict[Identity, str] = {}

    def closed_before(self, op: Op) -> tuple[Identity, ...]:
        """Return the files that were closed since the previous op; note this op, which has not run yet."""
        closed = tuple(identity for identity in list(self._open) if self._is_over(identity))
        seen = op.detail.seen if op.detail is not None else None
        if op.kind == "open" and seen is not None and stat.S_ISREG(seen.mode):
            identity, path = (seen.dev, seen.ino), f"{self._box}/{op.path}"
            # A second opener closes the file as well, and ext4 counts that close.
            is_alone = self._open.pop(identity, None) is None and is_closed(path)
            if op.flags & os.O_TRUNC and seen.size and is_alone:
                self._open[identity] = path
        return closed

    def _is_over(self, identity: Identity) -> bool:
        """Return whether a file is closed; a file that has left its path is forgotten."""
        path = self._open[identity]
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            info = None
        is_there = info is not None and (info.st_dev, info.st_ino) == identity
        if is_there and not is_closed(path):
            return False
        del self._open[identity]
        return is_there
