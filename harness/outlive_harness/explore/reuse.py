"""Results that still hold: each is kept with the content of all that its golden run read.

A scenario need not be explored again where nothing has changed: not its declaration, not the files
beside it, not what its setup, its first golden run and its check opened or ran outside the box (as seen by
the supervisor, in any language), nor the Python files beside those, not this harness, its options or the
kernel. Not compared is what only a recovery reads elsewhere. Environment variables are compared where a run
goes on in the middle of a scenario, and not for results that are whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import stat
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from outlive_harness.disk.tree import scan, tree_digest
from outlive_harness.json_text import read_json
from outlive_harness.launch.zygote import is_installed
from outlive_harness.scenario import Scenario
from outlive_harness.store import Store, write_down

from .corpus import DIRECTORY, regressions_of
from .golden import Record, shape
from .options import Options
from .results import ScenarioResult, Verdict, read_back
from .runner import is_own
from .subject import from_scenario
from .unfinished import Unfinished

_HARNESS = Path(__file__).parents[1]
#: The digest of a file that is not there: see _digest().
_GONE = "errno 2"
#: What differs from one command to the next in a shell.
_OF_THE_SHELL = frozenset({"_", "COLUMNS", "LINES", "OLDPWD", "SHLVL"})
#: What decides the result, of the user's options: others only decide how fast it is there.
_DECISIVE = ("points", "seed", "select", "exhaustive", "fail_fast", "real_fs")


class Ledger:
    """The results of one project, under ``.outlive/results``.

    Args:
        store: where they are kept.
        changed: whether what held, and has not changed, is taken over.
        resume: whether what the last run did is taken over, if that run was cut short.
    """

    def __init__(self, store: Store, *, changed: bool = False, resume: bool = False) -> None:
        self._store = store
        self._changed, self._resume = changed, resume
        self._run = str(time.time_ns())

    @property
    def _unfinished(self) -> Path:
        return self._store.root / "results" / "unfinished"

    def begin(self) -> bool:
        """Note that a run begins; say whether one is resumed.

        Raises:
            OSError: nothing can be written there.
        """
        self._store.begin()
        self._unfinished.parent.mkdir(exist_ok=True)
        if self._resume:
            try:
                self._run = self._unfinished.read_text()
            except FileNotFoundError:
                self._resume = False
        self._unfinished.write_text(self._run)
        return self._resume

    def end(self) -> None:
        """Note that the run came to its end: there is nothing to resume."""
        with contextlib.suppress(OSError):
            self._unfinished.unlink()

    def came_of(self, scenario: Scenario, options: Options, reads: list[str]) -> dict[str, Any]:
        """Return what a result will have come of: taken before the trials, while all is as it was read.

        It is empty where that is not known, and so the result not to be kept.
        """
        if not reads:
            return {}
        try:
            parts = _parts(scenario, options)
        except OSError:  # the input is gone
            return {}
        return {"parts": parts, "reads": {path: _digest(path) for path in _with_sources(reads)}}

    def unfinished(self, scenario: Scenario, came_of: dict[str, Any], record: Record) -> Unfinished:
        """Return the trials of a scenario that an earlier run did not come to the end of."""
        path = self._store.result(scenario.name).with_suffix(".trials")
        return Unfinished(path, {**came_of, "run": _run(record)}, resume=self._resume)

    def remember(
        self, scenario: Scenario, options: Options, came_of: dict[str, Any], result: ScenarioResult
    ) -> None:
        """Keep a scenario's result; one that is unknown, or was skipped, is none."""
        if result.verdict in (Verdict.UNKNOWN, Verdict.SKIPPED) or not came_of:
            return
        path = self._store.result(scenario.name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        when = {"run": self._run, "when": time.strftime("%Y-%m-%d %H:%M")}
        # What failed is there by now: it is part of what the result came of, the next time.
        failed = _failed(scenario, options)
        entry = {**came_of, **when, "failed": failed, "result": dataclasses.asdict(result)}
        with contextlib.suppress(OSError):  # then it is explored again, next time
            temporary.write_text(json.dumps(entry, indent=1))
            temporary.replace(path)

    def recall(self, scenario: Scenario, options: Options) -> ScenarioResult | str:
        """Return what is known of a scenario, if all that it came of is as it was; else why it is not.

        The text is "" where nobody asked, or nothing is known yet.
        """
        if not (self._changed or self._resume):
            return ""
        try:
            entry = read_json(self._store.result(scenario.name).read_text())
            result = read_back(entry["result"])
            why = self._objection(entry, result, scenario, options)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return "its last result cannot be read: it is damaged, or was kept by another version"
        if why is not None:
            return why
        result.reason = f"as on {entry['when']}: nothing that it came of has changed" + (
            f"; {result.reason}" if result.reason else ""
        )
        result.seconds = 0.0
        return result

    def _objection(
        self, entry: dict[str, Any], result: ScenarioResult, scenario: Scenario, options: Options
    ) -> str | None:
        """Say why a result is not taken over, "" if it was not asked for; None if it is."""
        is_resumed = self._resume and entry["run"] == self._run
        if result.verdict is not Verdict.HELD and not is_resumed:
            return f"on {entry['when']} it was {result.verdict}" if self._changed else ""
        if not (self._changed or is_resumed):
            return ""
        return _difference(entry, _parts(scenario, options), _failed(scenario, options)) or None


def _difference(entry: dict[str, Any], parts: dict[str, Any], failed: str) -> str:
    """Say what of all that a result came of has changed since; "" if nothing has."""
    known = entry["parts"]
    for name, value in parts.items():
        if name != "files" and known[name] != value:
            return f"{name} changed"
    pairs = {path: (known["files"].get(path, _GONE), now) for path, now in parts["files"].items()}
    pairs |= {path: (then, _GONE) for path, then in known["files"].items() if path not in pairs}
    pairs |= {path: (then, _digest(path)) for path, then in entry["reads"].items()}
    for path, (then, now) in pairs.items():
        if then != now:
            what = "is gone" if now == _GONE else "is new" if then == _GONE else "has changed"
            return f"{_from_here(path)} {what}"
    return "what failed once is another" if entry["failed"] != failed else ""


def _from_here(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _parts(scenario: Scenario, options: Options) -> dict[str, Any]:
    """Digest what is declared and asked for, and who explores it; and each file that belongs to it."""
    asked = [
        options.faults_of(scenario),
        options.profile_of(scenario),
        options.cuts_of(scenario),
        max(options.depth, scenario.depth),
        [getattr(options, name) for name in _DECISIVE],
        int(options.signal),
        options.baseline.of(scenario.name) if options.baseline is not None else None,
    ]
    # Keys are what a message says of them.
    return {
        "its declaration": _hashed(write_down(scenario)),
        "the options": _hashed(asked),
        "the Python that runs outlive": sys.version,
        "the kernel": platform.release(),
        "outlive itself": _hashed(_own_sources()),
        "files": _beside(scenario),
    }


def _hashed(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _run(record: Record) -> str:
    """Digest what a golden run was: its environment, its ops and what it came to."""
    subject = record.subject
    environment = subject.environment(Path(DIRECTORY))
    outputs = {path: entry for path, entry in record.final.items() if subject.is_output(path)}
    parts = [
        sorted((name, value) for name, value in environment.items() if name not in _OF_THE_SHELL),
        shape(record, record.ops),
        tree_digest(outputs, record.fold),
        record.value,
        record.acks,
    ]
    return _hashed(parts)


def _failed(scenario: Scenario, options: Options) -> str:
    """Digest what failed once, and is struck first."""
    path = regressions_of(scenario, options).path
    return _digest(str(path)) if path is not None and path.exists() else ""


@cache
def _own_sources() -> list[str]:
    return [_digest(str(path)) for path in sorted(_HARNESS.rglob("*.py"))]


def _beside(scenario: Scenario) -> dict[str, str]:
    """Digest the scenario's file, the modules beside it, and its input; return it by path."""
    files = sorted(Path(scenario.file).parent.glob("*.py")) if os.path.isfile(scenario.file) else []
    found = {str(path): _digest(str(path)) for path in files}
    source = from_scenario(scenario).source
    if source is not None:  # what a run keeps there of itself is no part of it
        given = scan(Path(source), skip=is_own, opens=False)
        found |= {os.path.join(source, path): " ".join(map(str, entry)) for path, entry in given.items()}
    return found


def _with_sources(reads: list[str]) -> list[str]:
    """Add the sources of compiled modules, at whose times alone Python looks before it reads those.

    And of the project's own those beside them: a recovery may import what the golden run did not.
    """
    found = dict.fromkeys(path for path in reads if path)
    own: dict[str, None] = {}
    for path in list(found):
        head, name = os.path.split(path)
        if os.path.basename(head) == "__pycache__" and name.endswith(".pyc"):
            head = os.path.dirname(head)
            found[os.path.join(head, f"{name.partition('.')[0]}.py")] = None
        if name.endswith((".py", ".pyc")) and not is_installed(path):
            own[head] = None
    for directory in own:
        with contextlib.suppress(OSError):
            beside = sorted(name for name in os.listdir(directory) if name.endswith(".py"))
            found.update(dict.fromkeys(os.path.join(directory, name) for name in beside))
    return list(found)


#: Digests by path and what stat(2) says of it: libraries are read by every scenario.
_known: dict[tuple[str, int, int, int, int], str] = {}


def _digest(path: str) -> str:
    """Digest a file's content, a directory's names; say so where there is none."""
    try:
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            # Python lists the directory of a scenario's file; what failed there is compared for itself.
            names = repr(sorted(set(os.listdir(path)) - {DIRECTORY})).encode(errors="surrogateescape")
            return f"names {hashlib.blake2b(names, digest_size=16).hexdigest()}"
        if not stat.S_ISREG(info.st_mode):
            return "no file"
        key = path, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
        if key not in _known:
            with open(path, "rb") as file:
                _known[key] = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
        return _known[key]
    except OSError as error:
        return f"errno {error.errno}"


#: What is there of the machine and of processes, and not of files: it differs each time.
_NO_FILES = ("/proc/", "/sys/", "/dev/")


def stands_on(scenario: Scenario, paths: list[str]) -> tuple[object, ...]:
    """Return the content of all that a golden run came of, to be compared with what it is at another time.

    Args:
        scenario: what ran.
        paths: what it read.
    """
    try:
        beside: object = _beside(scenario)
    except OSError as error:
        beside = error.errno
    files = _with_sources([path for path in paths if not path.startswith(_NO_FILES)])
    return beside, {path: _digest(path) for path in files}
