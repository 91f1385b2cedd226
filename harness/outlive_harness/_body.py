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
    if not found:
        sys.exit(f"{file} has no scenario {name!r} any more")
    function = getattr(found[0], role)
    if role in ("check", "crash_check"):
        said, *acks = more
        _check(lambda: function(*(json.loads(Path(path).read_text()) for path in acks)), said)
    else:
        function()


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
