"""Results that still hold: each is kept with digests of all that it rests on.

A scenario need not be explored again if nothing has changed: its declaration, the files beside it, the files
that its setup, its first golden run and its check opened or executed outside the box (in any language), the
Python files beside those, this harness, its options, and the kernel. Files that only a recovery reads
elsewhere are not compared. Environment variables are compared only if a run is resumed within a scenario.
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
from outlive_harness.golden.names import shape
from outlive_harness.golden.record import Record
from outlive_harness.launch.zygote import is_installed
from outlive_harness.results.json_text import read_json
from outlive_harness.results.options import Options
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.verdicts import ScenarioResult, Verdict, read_back
from outlive_harness.search.choices import faults_of, profile_of, settings_of
from outlive_harness.world.box import is_own

from .baseline import Baseline
from .regressions import DIRECTORY, file_of
from .store import Store, write_down
from .unfinished import UnfinishedTrials

_HARNESS = Path(__file__).parents[1]
#: The digest of a missing file: see _digest().
_GONE = "errno 2"
#: Variables that a shell changes from one command to the next.
_OF_THE_SHELL = frozenset({"_", "COLUMNS", "LINES", "OLDPWD", "SHLVL"})
#: The options that decide a result; others decide how soon it is there.
_DECISIVE = ("points", "seed", "select", "exhaustive", "fail_fast", "real_fs")


class Ledger:
    """The results of one project, under ``.outlive/results``.

    Args:
        store: the project's directory.
        changed: whether results that held are reused if nothing has changed.
        resume: whether the last run is resumed if it was cut short.
        baseline: the known violations, which decide verdicts.
    """

    def __init__(
        self,
        store: Store,
        *,
        changed: bool = False,
        resume: bool = False,
        baseline: Baseline | None = None,
    ) -> None:
        self._store, self._baseline = store, baseline
        self._changed, self._resume = changed, resume
        self._run = str(time.time_ns())

    @property
    def _unfinished(self) -> Path:
        return self._store.root / "results" / "unfinished"

    def begin(self) -> bool:
        """Note that a run begins; return whether an earlier one is resumed.

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
        """Note that the run is complete: there is nothing to resume."""
        with contextlib.suppress(OSError):
            self._unfinished.unlink()

    def basis(self, scenario: Scenario, options: Options, reads: list[str]) -> dict[str, Any]:
        """Return digests of all that a result rests on, taken before the trials, as the golden run read it.

        The basis is empty if it is unknown; then the result must not be kept.
        """
        if not reads:
            return {}
        try:
            parts = _parts(scenario, options, self._baseline)
        except OSError:  # the input is gone
            return {}
        return {"parts": parts, "reads": {path: _digest(path) for path in _with_sources(reads)}}

    def unfinished(self, scenario: Scenario, basis: dict[str, Any], record: Record) -> UnfinishedTrials:
        """Return the trials of a scenario that an earlier run did not complete."""
        path = self._store.result(scenario.name).with_suffix(".trials")
        return UnfinishedTrials(path, {**basis, "run": _run(record)}, resume=self._resume)

    def remember(
        self, scenario: Scenario, options: Options, basis: dict[str, Any], result: ScenarioResult
    ) -> None:
        """Keep a scenario's result, unless it is unknown or skipped."""
        if result.verdict in (Verdict.UNKNOWN, Verdict.SKIPPED) or not basis:
            return
        path = self._store.result(scenario.name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        when = {"run": self._run, "when": time.strftime("%Y-%m-%d %H:%M")}
        # The result rests on its own regressions, too, which were kept by now.
        failed = _failed(scenario, options)
        entry = {**basis, **when, "failed": failed, "result": dataclasses.asdict(result)}
        with contextlib.suppress(OSError):  # then the scenario is explored again the next time
            temporary.write_text(json.dumps(entry, indent=1))
            temporary.replace(path)

    def recall(self, scenario: Scenario, options: Options) -> ScenarioResult | str:
        """Return a scenario's kept result if nothing that it rests on has changed, else what has changed.

        The text is "" if no result was asked for, or none is kept.
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
        result.reason = f"as on {entry['when']}: nothing that it rests on has changed" + (
            f"; {result.reason}" if result.reason else ""
        )
        result.seconds = 0.0
        return result

    def _objection(
        self, entry: dict[str, Any], result: ScenarioResult, scenario: Scenario, options: Options
    ) -> str | None:
        """Return why a result is not reused, "" if it was not asked for; None if it is reused."""
        is_resumed = self._resume and entry["run"] == self._run
        if result.verdict is not Verdict.HELD and not is_resumed:
            return f"on {entry['when']} it was {result.verdict}" if self._changed else ""
        if not (self._changed or is_resumed):
            return ""
        parts = _parts(scenario, options, self._baseline)
        return _difference(entry, parts, _failed(scenario, options)) or None


def _difference(entry: dict[str, Any], parts: dict[str, Any], failed: str) -> str:
    """Return what has changed of all that a result rests on, in words; "" if nothing has."""
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
    return "the kept failures changed" if entry["failed"] != failed else ""


def _from_here(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _parts(scenario: Scenario, options: Options, baseline: Baseline | None) -> dict[str, Any]:
    """Return digests of the declaration, the options, the harness, and each file of the scenario."""
    asked = [
        faults_of(options, scenario),
        profile_of(options, scenario),
        settings_of(options, scenario).cuts,
        max(options.depth, scenario.depth),
        [getattr(options, name) for name in _DECISIVE],
        int(options.signal),
        baseline.of(scenario.name) if baseline is not None else None,
    ]
    # Messages quote the keys.
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
    """Return a digest of a golden run: its environment, its ops and its results."""
    spec = record.spec
    environment = spec.environment(Path(DIRECTORY))
    outputs = {path: entry for path, entry in record.final.items() if spec.is_output(path)}
    parts = [
        sorted((name, value) for name, value in environment.items() if name not in _OF_THE_SHELL),
        shape(record, record.ops),
        tree_digest(outputs, record.fold),
        record.value,
        record.acks,
    ]
    return _hashed(parts)


def _failed(scenario: Scenario, options: Options) -> str:
    """Return a digest of the regressions, which are tried first."""
    path = file_of(scenario, options)
    return _digest(str(path)) if path is not None and path.exists() else ""


@cache
def _own_sources() -> list[str]:
    return [_digest(str(path)) for path in sorted(_HARNESS.rglob("*.py"))]


def _beside(scenario: Scenario) -> dict[str, str]:
    """Return digests of the scenario's file, the modules beside it, and its input, by path."""
    files = sorted(Path(scenario.file).parent.glob("*.py")) if os.path.isfile(scenario.file) else []
    found = {str(path): _digest(str(path)) for path in files}
    source = run_spec_of(scenario).source
    if source is not None:  # without the files that a run of outlive keeps there
        given = scan(Path(source), skip=is_own, opens=False)
        found |= {os.path.join(source, path): " ".join(map(str, entry)) for path, entry in given.items()}
    return found


def _with_sources(reads: list[str]) -> list[str]:
    """Add the sources of compiled modules, of which Python itself compares only the times.

    Add the sources beside the project's own modules, too: a recovery may import others than the golden run.
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


#: Digests by path and result of stat(2), as every scenario reads the same libraries.
_known: dict[tuple[str, int, int, int, int], str] = {}


def _digest(path: str) -> str:
    """Return a digest of a file's content or of a directory's names, or a text if it is neither."""
    try:
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            # Python lists the directory of a scenario's file; the regressions in it are compared separately.
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


#: Paths of the machine and of processes, which differ each time.
_NO_FILES = ("/proc/", "/sys/", "/dev/")


def content_of(scenario: Scenario, paths: list[str]) -> tuple[object, ...]:
    """Return digests of all that a golden run rests on, to be compared with those at another time.

    Args:
        scenario: the scenario.
        paths: the paths that the golden run read.
    """
    try:
        beside: object = _beside(scenario)
    except OSError as error:
        beside = error.errno
    files = _with_sources([path for path in paths if not path.startswith(_NO_FILES)])
    return beside, {path: _digest(path) for path in files}
