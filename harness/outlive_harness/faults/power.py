"""``power``, ``ext4``, ``xfs``, ``btrfs``: the machine loses power, and data that was not synced may be lost.

Nothing is injected into a run. ``power`` takes its crash states from a recording and the model of the disk
(disk/power.py); the others copy a real file system while an op is stopped (disk/realfs.py).
"""

from __future__ import annotations

from .fault import Fault


class Power(Fault):
    """Cuts the power after each op, and in an op that syncs itself: all states that the profile admits."""

    name = "power"
    cuts_power = "model"
    follows_from_ops = True


class RealDisk(Fault):
    """Cuts the power before each op, by a copy of a real disk.

    Args:
        name: the file system.
    """

    part = "journal"
    cuts_power = "real"

    def __init__(self, name: str) -> None:
        self.name = name
