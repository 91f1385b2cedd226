"""The faults: ways in which a machine or a process fails. One file each, and a line in the table.

A fault states its traits, lists the points of a run at which it can be injected, and says what the supervisor
answers there. It may import ``intercept``, ``disk`` and ``results``. How a run starts, how a crash state is
judged, and the doors never come in.
"""

from .fault import Blames, Fault, Injection, KnownRun, Part, RunFault, Settings

__all__ = ["Blames", "Fault", "Injection", "KnownRun", "Part", "RunFault", "Settings"]
