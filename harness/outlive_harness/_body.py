"""Runs one function of a scenario file as a program: the body, its setup, or its check.

``python -m outlive_harness._body FILE NAME {body,setup,check} HOME [SAID [ACKS]]``; a check says what came
of it in the file SAID: what it printed, and a traceback, are words for people.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .scenario import load_file

#: Tells the children that multiprocessing spawns which file their functions are in.
_FILE = "OUTLIVE_SCENARIO_FILE"
#: Where code of others is: its frames say nothing of where in a scenario a check fails.
_FOREIGN = (os.path.dirname(__file__), os.path.dirname(os.__file__), "<frozen ", "<string>")


def main() -> None:
    """Find the scenario and call the function."""
    file, name, role, home, *more = sys.argv[1:]
    if sys.flags.optimize:
        sys.exit("assertions are switched off in this interpreter, and a scenario's functions rest on them")
    sys.argv[:] = [file]
    os.environ[_FILE] = file
    sys.path.append(home)
    found = [one for one in load_file(file) if one.name == name]
    if not found:
        sys.exit(f"{file} has no scenario {name!r} any more")
    function = getattr(found[0], role)
    if role == "check":
        said, *acks = more
        _check(lambda: function(*(json.loads(Path(path).read_text()) for path in acks)), said)
    else:
        function()


def _check(function: Callable[[], object], said: str) -> None:
    """Call a check, and say what it returned or raised in a file that is open before it begins.

    A child of it that comes by here says nothing.
    """
    owner = os.getpid()
    with open(said, "w", encoding="ascii") as file:

        def tell(facts: dict[str, Any]) -> None:
            if os.getpid() == owner:
                json.dump(facts, file)
                file.flush()

        try:
            try:
                value = function()
            except SystemExit as end:
                if end.code:
                    raise
                value = None
            told = {"value": repr(value)}
        except BaseException as error:
            tell({"error": _described(error)})
            raise
        tell(told)


def _described(error: BaseException) -> dict[str, Any]:
    """Return what an exception is, what it says, and where in the scenario's own code it was raised."""
    kind = type(error)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - of whatever class it is
        message = ""
    return {
        "type": prefix + kind.__qualname__,
        "is_assertion": _is_assertion(error),
        "message": message,
        "place": _place(error.__traceback__),
    }


def _is_assertion(error: BaseException) -> bool:
    """Tell whether an exception is an assertion that failed, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_assertion, error.exceptions))
    return isinstance(error, AssertionError)


def _place(trace: TracebackType | None) -> str:
    """Return the innermost line that is nobody else's: file, line, function, and what stands there."""
    import linecache  # noqa: PLC0415 - for a check that fails

    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_FOREIGN) and "/site-packages/" not in code.co_filename:
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            found = f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}" + (f": {text}" if text else "")
        trace = trace.tb_next
    return found


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a child of multiprocessing, not forked
    load_file(os.environ[_FILE])
