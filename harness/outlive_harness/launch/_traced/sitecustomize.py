"""The first module that every interpreter of a traced run imports: it starts recording the stacks.

PYTHONPATH leads here, so older interpreters read this too, and it does nothing in them. Then it imports the
module of the same name that the interpreter would have found without it.
"""

import os
import sys


def _begin(place):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - for versions without annotations
    module = os.path.join(os.path.dirname(_HERE), "_stack_slots.py")
    names = {"__name__": "_stack_slots", "__file__": module}
    with open(module, "rb") as file:
        exec(compile(file.read(), module, "exec"), names)  # noqa: S102 - this package's module, by its path
    names["watch"](place)  # type: ignore[operator]


_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
_self = sys.modules.pop(__name__, None)
try:  # noqa: SIM105 - the program may not have contextlib
    import sitecustomize  # type: ignore[import-not-found]  # noqa: F401 - the interpreter's own, if any
except ImportError:
    pass
if _self is not None:
    sys.modules.setdefault(__name__, _self)
if sys.version_info >= (3, 8) and "OUTLIVE_STACKS" in os.environ:
    try:  # noqa: SIM105 - as above
        _begin(os.environ["OUTLIVE_STACKS"])  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001, S110 - the program still runs, without a record
        pass
