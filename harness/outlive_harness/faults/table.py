"""The table of faults: a line each."""

from __future__ import annotations

from outlive_harness.disk.realfs import KINDS

from .eio import Eio
from .fault import Fault, RunFault
from .full import Full
from .kill import Kill
from .power import Power, RealDisk
from .term import Term
from .timer import Timer
from .torn import Torn

#: All faults, by name.
FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Kill(),
        Torn(),
        Full(),
        Eio(),
        Term(),
        Timer(),
        Power(),
        *(RealDisk(name) for name in KINDS),
    )
}
#: The faults that are injected into a run while it is under way.
RUN_FAULTS: dict[str, RunFault] = {
    name: fault for name, fault in FAULTS.items() if isinstance(fault, RunFault)
}
#: The names that can be asked for anywhere; a real file system has an option of its own.
NAMES = tuple(name for name, fault in FAULTS.items() if fault.cuts_power != "real")
#: Stands in for every other fault on a machine without interception.
STAND_IN = next(fault for fault in RUN_FAULTS.values() if not fault.intercepts)
