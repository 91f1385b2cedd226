"""Results that still hold: each is kept with the content of all that its golden run read.

A scenario need not be explored again where nothing has changed: not its declaration, not the files
beside it, not what its setup and its first golden run opened or ran outside the box (as seen by the
supervisor, in any language), nor the Python files beside those, not this harness, its options or the
kernel. Not compared is what only a recovery or a ``check`` reads elsewhere. Environment variables are
compared where a run goes on in the middle of a scenario, and not for results that are whole.
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
            key = _key(scenario, options)
        except OSError:  # the input is gone
            return {}
        return {"key": key, "reads": {path: _digest(path) for path in _with_sources(reads)}}

    def unfinished(self, scenario: Scenario, came_of: dict[str, Any], record: Record) -> Unfinished:
        """Return the trials of a scenario that an earlier run did not come to the end of."""
        path = self._store.result(scenario.name).with_suffix(".trials")
        return Unfinished(path, {**came_of, "run": _run(record)}, resume=self._resume)

    def remember(
        self, scenario: Scenario, options: Options, came_of: dict[str, Any], result: ScenarioResult
    ) -> None:
        """Keep a scenario's result; one that is unknown is none."""
        if result.verdict is Verdict.UNKNOWN or not came_of:
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

    def recall(self, scenario: Scenario, options: Options) -> ScenarioResult | None:
        """Return what is known of a scenario, if all that it came of is as it was; None if not."""
        if not (self._changed or self._resume):
            return None
        try:
            entry = json.loads(self._store.result(scenario.name).read_text())
            result = read_back(entry["result"])
            wanted = (self._changed and result.verdict is Verdict.HELD) or (
                self._resume and entry["run"] == self._run
            )
            if not wanted or entry["key"] != _key(scenario, options):
                return None
            if entry["failed"] != _failed(scenario, options):
                return None
            if any(_digest(path) != digest for path, digest in entry["reads"].items()):
                return None
            result.reason = f"as on {entry['when']}: nothing that it came of has changed" + (
                f"; {result.reason}" if result.reason else ""
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or of another version
            return None
        result.seconds = 0.0
        return result


def _key(scenario: Scenario, options: Options) -> str:
    """Digest what is declared and asked for, and who explores it."""
    parts = [
        write_down(scenario),
        options.faults_of(scenario),
        options.profile_of(scenario),
        options.cuts_of(scenario),
        max(options.depth, scenario.depth),
        [getattr(options, name) for name in _DECISIVE],
        int(options.signal),
        options.baseline.of(scenario.name) if options.baseline is not None else None,
        sys.version,
        platform.release(),
        _own_sources(),
        _beside(scenario),
    ]
    return hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


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
    return hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _failed(scenario: Scenario, options: Options) -> str:
    """Digest what failed once, and is struck first."""
    path = regressions_of(scenario, options).path
    return _digest(str(path)) if path is not None and path.exists() else ""


@cache
def _own_sources() -> list[str]:
    return [_digest(str(path)) for path in sorted(_HARNESS.rglob("*.py"))]


def _beside(scenario: Scenario) -> list[object]:
    """Digest the scenario's file, the modules beside it, and its input."""
    files = sorted(Path(scenario.file).parent.glob("*.py")) if os.path.isfile(scenario.file) else []
    source = from_scenario(scenario).source
    # What a run keeps there of itself is no part of it.
    given = [] if source is None else sorted(scan(Path(source), skip=is_own, opens=False).items())
    return [[(path.name, _digest(str(path))) for path in files], given]


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
