"""``ext4``, ``xfs``, ``btrfs``: power cuts on a real file system; see realfs.py."""

from __future__ import annotations

from outlive_harness.faults import Blames


class RealDisk:
    """Cuts the power before each op, on a disk that is copied while the op stands still.

    Args:
        name: the file system.
    """

    intercepts = True
    blames: Blames = "op"

    def __init__(self, name: str) -> None:
        self.name = name
