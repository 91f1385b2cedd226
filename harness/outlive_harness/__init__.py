"""outlive_harness: kills pipelines at every point where their files can differ, and proves recovery.

A scenario needs one name from here; everything else is loaded when it is used.
"""

from outlive_harness.results.scenario import ack, scenario

__all__ = ["__version__", "ack", "scenario"]

__version__ = "0.1.0"
