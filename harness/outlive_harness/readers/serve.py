"""The process that reads: ``python -m outlive_harness.readers.serve REQUESTS REPLIES [FILE NAME HOME]``.

Each request, a line of JSON on the descriptor REQUESTS, is answered on REPLIES by a child of its own: a
reader that hangs, crashes or eats memory takes nothing along. What readers import stays loaded in this
process. The file and the name are those of a scenario with functions as readers.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from outlive_harness.results.reader_names import FUNCTION, steps_of

from .kinds import Absent, ReadError, Tables
from .propose import propose
from .table import PIP, READER, read_by
from .values import differences, digest
from .view import View

#: How many differences are told.
_TOLD = 5
_STEP = 1 << 16


def main() -> None:
    """Answer requests until their descriptor is closed."""
    requests, replies, *scenario = sys.argv[1:]
    functions = _functions(*scenario) if scenario else ()
    with open(int(requests), encoding="utf-8") as lines, open(int(replies), "w", encoding="utf-8") as told:
        for line in lines:
            request = json.loads(line)
            _preload(request)
            told.write(json.dumps(_answered(request, functions)) + "\n")
            told.flush()


def _functions(file: str, name: str, home: str) -> Sequence[Callable[[Path], Any]]:
    """Return the functions that a scenario reads its outputs with, by position among all readers."""
    from outlive_harness.results.scenario_files import RUNNING, load_file  # noqa: PLC0415 - only for functions

    os.environ[RUNNING] = file
    sys.path.append(home)
    found = next(one for one in load_file(file) if one.name == name)
    return [reader if callable(reader) else _no_function for _, reader in found.read]


def _no_function(_path: Path) -> NoReturn:
    raise AssertionError


def _preload(request: dict[str, Any]) -> None:
    """Import what a request needs here, so that its child, and all later ones, have it."""
    for step in () if request["reader"].startswith(FUNCTION) else steps_of(request["reader"] or "bytes"):
        if READER[step.name].needs:
            with contextlib.suppress(ImportError):
                importlib.import_module(READER[step.name].needs)


def _answered(request: dict[str, Any], functions: Sequence[Callable[[Path], Any]]) -> dict[str, Any]:
    """Return what a child answers, or how it ended without an answer."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _be_a_child(request, functions, theirs)
    os.close(theirs)
    content, is_late = _until(ours, time.monotonic() + request["seconds"])
    os.close(ours)
    if is_late:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if is_late:
        return {"failed": f"the reader had not ended after {request['seconds']:g} s"}
    try:
        found: dict[str, Any] = json.loads(content)
    except ValueError:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return {"failed": f"the reader {how}"}
    return found


def _until(fd: int, deadline: float) -> tuple[bytes, bool]:
    """Read a pipe until its other end is closed; return whether that took too long."""
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return b"".join(parts), True
        part = os.read(fd, _STEP)
        if not part:
            return b"".join(parts), False
        parts.append(part)


def _be_a_child(request: dict[str, Any], functions: Sequence[Callable[[Path], Any]], out: int) -> None:
    """Answer a request, and end."""
    status = 1
    try:
        _limit_memory(request["memory"])
        answer = json.dumps(_answer(request, functions)).encode()
        with open(out, "wb") as file:
            file.write(answer)
        status = 0
    finally:
        os._exit(status)


def _limit_memory(most: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (used + most, used + most))


def _answer(request: dict[str, Any], functions: Sequence[Callable[[Path], Any]]) -> dict[str, Any]:
    """Return what is asked for, or why there is no value."""
    try:
        return _found(request, _reader(request["reader"], functions))
    except ReadError as error:
        why = str(error)
    except MemoryError:
        why = f"the reader needs more than {request['memory'] >> 20} MiB"
    except ImportError as error:
        name = error.name or str(error)
        why = f"the reader needs {name} in this Python: pip install {PIP.get(name, name)}"
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises
        text = str(error).split("\n")[0]
        why = f"it raised {type(error).__name__}" + (f": {text}" if text else "")
    return {"failed": why}


def _found(request: dict[str, Any], read: Callable[[Path], Any]) -> dict[str, Any]:
    view = View(tuple(request["masks"]), request["boxes"])
    here, golden = Path(request["path"]), Path(request["golden"])
    if request["what"] == "propose":
        return propose(golden, here, view)
    value = read(here)
    if isinstance(value, Absent):
        return {"absent": True}
    if request["what"] == "value":
        is_empty = isinstance(value, Tables) and value.are_empty()
        return {"value": digest(view.of(value)), "is_empty": is_empty}
    found = differences(view.of(read(golden)), view.of(value))
    lines = [str(one) for one, _ in zip(found, range(_TOLD + 1), strict=False)]
    return {"lines": [*lines[:_TOLD], "..."] if len(lines) > _TOLD else lines}


def _reader(text: str, functions: Sequence[Callable[[Path], Any]]) -> Callable[[Path], Any]:
    if text.startswith(FUNCTION):
        return functions[int(text[len(FUNCTION) :])]
    steps = steps_of(text or "bytes")
    return lambda path: read_by(steps, path)


if __name__ == "__main__":
    main()
