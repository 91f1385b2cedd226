"""outlive_harness: kills pipelines at every point where their files can differ, and proves recovery.

A scenario file needs ``scenario`` and ``ack``; everything else is imported where it is used.
"""

from outlive_harness.scenario import ack, scenario

__all__ = ["__version__", "ack", "scenario"]

__version__ = "0.1.0"
