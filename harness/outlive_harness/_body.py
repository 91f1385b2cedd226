"""Runs one function of a scenario file as a program: the body, its setup, or one of its checks.

``python -m outlive_harness._body FILE NAME {body,setup,check,crash_check} HOME [SAID [ACKS]]``. A check
writes its result to the file SAID, since what it prints, tracebacks included, is for people.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from outlive_harness.results.scenario import Scenario
from outlive_harness.results.scenario_files import RUNNING, load_file

#: Code outside the scenario: its frames do not show where a check fails.
_FOREIGN = (os.path.dirname(__file__), os.path.dirname(os.__file__), "<frozen ", "<string>")


def main() -> None:
    """Find the scenario and call the function."""
    file, name, role, home, *more = sys.argv[1:]
    if sys.flags.optimize:
        sys.exit("assertions are switched off in this interpreter, and a scenario's functions rely on them")
    sys.argv[:] = [file]
    os.environ[RUNNING] = file  # the children that multiprocessing spawns read it, too
    sys.path.append(home)
    found = [one for one in load_file(file) if one.name == name]
    if len(found) != 1:
        what = f"has {len(found)} scenarios named {name!r}" if found else f"has no scenario {name!r} any more"
        sys.exit(f"{file} {what}")
    one = found[0]
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = lambda *_, **__: sys.exit(_without_terminal(one, role, _caller()))
    if role in ("check", "crash_check"):
        said, *acks = more
        _check(lambda: _call(one, role, *(json.loads(Path(path).read_text()) for path in acks)), said)
    else:
        _call(one, role)


def _call(one: Scenario, role: str, *more: object) -> object:
    """Call a function of a scenario; a debugger that ends for want of a terminal ends it with a hint."""
    try:
        return one.call(role, *more)
    except Exception as error:
        if type(error).__name__ == "BdbQuit":
            sys.exit(_without_terminal(one, role, _place(error.__traceback__).partition(" in ")[0]))
        raise


def _caller() -> str:
    frame = sys._getframe(2)  # noqa: SLF001 - the line that calls breakpoint()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _without_terminal(one: Scenario, role: str, place: str) -> str:
    """Return what to do in place of a breakpoint: a debugger reads end-of-file where keys should be."""
    function = getattr(one, role)
    values = ", ".join(f"{key}={value!r}" for key, value in one.given.items())
    call = f"{getattr(function, '__name__', one.name)}({values if role == 'body' else ''})"
    where = "in an empty directory" if role == "body" else "in a shell that outlive replay ID --shell opens"
    return (
        f"a breakpoint, at {place}, has no terminal here: to debug the {role}, call it yourself, {where}: "
        f"python3 -i {one.file}, and then {call}"
    )


def _check(function: Callable[[], object], said: str) -> None:
    """Call a check, and write its value or exception to a file that is opened before it begins.

    A forked child that returns to this function writes nothing.
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
    """Return an exception's type and message, and the line of the scenario that raised it."""
    kind = type(error)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - its class may be anyone's
        message = ""
    return {
        "type": prefix + kind.__qualname__,
        "is_assertion": _is_assertion(error),
        "message": message,
        "place": _place(error.__traceback__),
    }


def _is_assertion(error: BaseException) -> bool:
    """Return whether an exception is a failed assertion, or a group of only those."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_assertion, error.exceptions))
    return isinstance(error, AssertionError)


def _place(trace: TracebackType | None) -> str:
    """Return the innermost frame in the scenario: file, line, function and source text."""
    import linecache  # noqa: PLC0415 - only if a check fails

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
elif __name__ == "__mp_main__":  # a spawned child of multiprocessing
    load_file(os.environ[RUNNING])
