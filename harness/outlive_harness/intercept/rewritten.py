"""Files that are emptied and written anew, and when whoever does so has closed them.

ext4 writes such a file back at its close (ext4_release_file(), "replace via truncate"), unless somebody else
closed it meanwhile, who may be a reader. No close is intercepted: whether a writer is left is asked of the
kernel at the ops that follow.
"""

from __future__ import annotations

import os
import stat

from outlive_harness.trace import Op

from .versions import is_closed

Identity = tuple[int, int]


class Rewritten:
    """Follows the files of one run.

    Args:
        box: the real path of the box.
    """

    def __init__(self, box: bytes) -> None:
        self._box = os.fsdecode(box)
        #: paths of those that may still be open
        self._open: dict[Identity, str] = {}

    def closed_before(self, op: Op) -> tuple[Identity, ...]:
        """Return those that were closed since the op before; take note of this one, which has not run yet."""
        closed = tuple(identity for identity in list(self._open) if self._is_over(identity))
        seen = op.detail.seen if op.detail is not None else None
        if op.kind == "open" and seen is not None and stat.S_ISREG(seen.mode):
            identity, path = (seen.dev, seen.ino), f"{self._box}/{op.path}"
            # Who opens it while another writes will close it as well, and that is the close that counts.
            is_alone = self._open.pop(identity, None) is None and is_closed(path)
            if op.flags & os.O_TRUNC and seen.size and is_alone:
                self._open[identity] = path
        return closed

    def _is_over(self, identity: Identity) -> bool:
        """Tell whether a file is closed; one that is not at its path any more is forgotten."""
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
