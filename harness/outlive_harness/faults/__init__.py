"""The faults: ways in which a machine or a process fails. One file each, and a line in the table.

A fault says what it is by its traits, at which points of a run it can be injected, and what the supervisor
answers there. It may import ``intercept``, ``disk`` and ``results``. How a run is started, what a crash state
is compared with, and any door never come in here.
"""

from .fault import Blames, Fault, Injection, KnownRun, Part, RunFault, Settings

__all__ = ["Blames", "Fault", "Injection", "KnownRun", "Part", "RunFault", "Settings"]
