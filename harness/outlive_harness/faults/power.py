"""``power``, ``ext4``, ``xfs``, ``btrfs``: the machine loses power, and what was not synced may be lost.

No run is struck. For ``power`` one run is recorded with all that it wrote, and the crash states come from the
model of the disk (disk/power.py). For the others a real file system is copied while an op stands still
(disk/realfs.py).
"""

from __future__ import annotations

from .fault import Fault


class Power(Fault):
    """Cuts the power after each op, and within one that is its own sync: all that the profile admits."""

    name = "power"
    cuts_power = "model"
    follows_from_ops = True


class RealDisk(Fault):
    """Cuts the power before each op, on a disk that is copied while the op stands still.

    Args:
        name: the file system.
    """

    part = "journal"
    cuts_power = "real"

    def __init__(self, name: str) -> None:
        self.name = name
