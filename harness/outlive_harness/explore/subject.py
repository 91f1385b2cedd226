"""A scenario made ready to run: plain data, so that any worker process can carry it out."""

from __future__ import annotations

import hashlib
import os
import re
import site
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from outlive_harness.disk.tree import Entry
from outlive_harness.globs import matcher
from outlive_harness.patterns import literal
from outlive_harness.scenario import ACK_PATTERN, TMP_CHOICES, Scenario, takes_acks

#: Where TMPDIR and HOME point, inside the box: what is left there is seen, but is never an output.
TMP, HOME = ".tmp", ".home"
_PLACE = "{box}"
#: What interpreters keep among temporary files while they run, and a kill leaves: the JVM its counters, R and
#: Python's multiprocessing a directory of a session, .NET its pipes.
_SESSIONS = re.compile(
    r"(?:^|/)(?:\.?tmp)/(?:hsperfdata_|Rtmp|pymp-|clr-debug-pipe-|dotnet-diagnostic-)[^/]+"
)
#: Python's tempfile tries a directory by such a file, in which is "blat".
_PROBE = re.compile(re.escape(TMP) + r"/[a-z0-9_]{8}")
#: What a test runner tells its children; a pipeline has no business to differ by it.
_FOREIGN = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT",
            "PYTEST_XDIST_TESTRUNUID", "OLDPWD")  # fmt: skip
#: What switches assertions off, or lets a program that failed exit with 0: nothing for a scenario's own
#: functions, whose assertions and exceptions are what they say.
_MUTING = ("PYTHONOPTIMIZE", "PYTHONINSPECT")
#: The program that runs a function of a scenario's file. -P: the box is the working directory, and no file
#: in it may shadow a module.
_BODY = (sys.executable, "-P", "-m", "outlive_harness._body")


@dataclass(frozen=True, slots=True)
class Subject:
    """What one run needs to know.

    Attributes:
        name: the scenario's name.
        argv: the program; ``{box}`` stands for the box's path.
        home: the directory of the user or the scenario file.
        outputs: patterns; empty means everything but TMPDIR and HOME.
        judge_outputs: whether outputs are compared at all (not where a check stands in for them).
        setup: the program that prepares a box, if any.
        check: the program that looks at a recovered box and prints what must not differ, if any.
        check_takes_acks: whether the check judges what was acknowledged.
        acks: pattern of the lines of standard output that acknowledge something; "" for none.
        source: a directory that is copied into each box, if any.
        own: files of the user that the program's arguments name, and that it must not change.
        standing: where the user stands: nothing is to be written there.
        tmp: ``other`` if the temporary directory is another file system to the program, or ``same``.
        environ: the environment of who asks, but for what a test runner tells its children.
        edition: tells it from the same subject at another time, where what it reads may have changed.
    """

    name: str
    argv: tuple[str, ...]
    home: str
    outputs: tuple[str, ...] = ()
    judge_outputs: bool = True
    append_only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    litter: str = "warn"
    restarts: int = 1
    timeout: float | None = None
    setup: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None
    check_takes_acks: bool = False
    acks: str = ""
    source: str | None = None
    own: tuple[str, ...] = ()
    standing: str = ""
    tmp: str = TMP_CHOICES[0]
    environ: tuple[tuple[str, str], ...] = ()
    edition: str = ""

    def key(self) -> str:
        """Return a short name for what is recorded of it: equal subjects share one recording."""
        text = repr([getattr(self, item.name) for item in fields(self)])
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()

    def command(self, argv: Sequence[str], box: Path) -> tuple[list[str], Path]:
        """Return the argument list for a box, and the directory to run it in."""
        if any(_PLACE in part for part in argv):
            return [part.replace(_PLACE, str(box)) for part in argv], Path(self.home)
        return list(argv), box

    def environment(self, box: Path, argv: Sequence[str] | None = None) -> dict[str, str]:
        """Return the environment of one of its programs: the user's, temporary files and caches in the box.

        A command has the user's as it is; in what runs a scenario's functions assertions are never off.

        Args:
            box: the box that it runs in.
            argv: the program, as the subject names it; None for the pipeline.
        """
        argv = self.argv if argv is None else argv
        env = dict(self.environ)
        if tuple(argv[: len(_BODY)]) == _BODY:
            for name in _MUTING:
                env.pop(name, None)
        home, tmp = str(box / HOME), str(box / TMP)
        # Packages of the user's own site directory would vanish with a moved HOME.
        env.setdefault("PYTHONUSERBASE", site.getuserbase())
        env |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), tmp)
        env |= {
            "HOME": home,
            "XDG_CACHE_HOME": f"{home}/.cache",
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_DATA_HOME": f"{home}/.local/share",
            "XDG_STATE_HOME": f"{home}/.local/state",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PWD": str(self.command(argv, box)[1]),
        }
        return env

    def is_output(self, path: str) -> bool:
        """Tell whether a path, relative to the box, is one of the outputs."""
        if not self.judge_outputs or _private(path) or self.is_ignored(path):
            return False
        return not self.outputs or matcher(self.outputs)(path)

    def is_named(self, path: str) -> bool:
        """Tell whether the outputs name a path as it is, with no wildcard, be it ignored or not."""
        return self.judge_outputs and not _private(path) and literal(path) in self.outputs

    def is_append_only(self, path: str) -> bool:
        """Tell whether a prefix of the file counts as complete."""
        return matcher(self.append_only)(path)

    def is_ignored(self, path: str) -> bool:
        """Tell whether no check looks at a path."""
        return bool(self.ignore) and matcher(self.ignore)(path)


def is_of_interpreter(path: str, entry: Entry | None = None) -> bool:
    """Tell whether a path is an interpreter's own, as long as it runs, and not the program's."""
    if _PROBE.fullmatch(path) and entry is not None:
        return entry.kind == "file" and entry.size <= len("blat")
    return _SESSIONS.search(path) is not None


def _private(path: str) -> bool:
    return path.split("/", 1)[0] in (TMP, HOME)


def from_scenario(scenario: Scenario) -> Subject:
    """Make a scenario ready."""
    home = Path(scenario.file).parent

    def role(name: str) -> tuple[str, ...]:
        return (*_BODY, scenario.file, scenario.name, name, str(Path.cwd()))

    source = home / scenario.input if scenario.input else None
    argv = role("body") if scenario.command is None else absolute(scenario.command, home, source)
    return Subject(
        scenario.name,
        argv,
        str(home),
        scenario.outputs,
        judge_outputs=bool(scenario.outputs) or scenario.check is None,
        append_only=scenario.append_only,
        ignore=scenario.ignore,
        litter=scenario.litter,
        restarts=scenario.restarts,
        timeout=scenario.timeout,
        setup=role("setup") if scenario.setup else None,
        check=role("check") if scenario.check else None,
        check_takes_acks=scenario.check is not None and takes_acks(scenario.check),
        acks=scenario.acks or (ACK_PATTERN if scenario.body else ""),
        source=None if source is None else str(source),
        standing=str(Path.cwd()),
        own=() if scenario.command is None else _own(argv),
        tmp=scenario.tmp,
        environ=tuple(sorted((key, value) for key, value in os.environ.items() if key not in _FOREIGN)),
    )


def _own(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the files of the user's that arguments name, all of them absolute by now."""
    named = (name for part in argv for name in (part, part.partition("=")[2]))
    return tuple(dict.fromkeys(name for name in named if os.path.isabs(name) and os.path.isfile(name)))


def absolute(command: Sequence[str], home: Path, source: Path | None = None) -> tuple[str, ...]:
    """Make arguments that are existing files relative to *home* absolute.

    What lies below *source*, which is copied into each box, becomes relative to the box: the copy is run.
    With ``{box}`` in the command nothing is changed: then it runs in *home*. Another directory is left as it
    is, since it may be the one that the pipeline makes in its box.
    """
    if any(_PLACE in part for part in command):
        return tuple(command)
    top = None if source is None else os.path.realpath(source)

    def fix(part: str) -> str:
        if not part:
            return part
        path = os.path.abspath(home / part)
        if top is not None and os.path.exists(path):
            directory, name = os.path.split(path)
            where = os.path.join(os.path.realpath(directory), name)
            if where.startswith(f"{top}/"):
                return os.path.relpath(where, top)
        return path if os.path.isfile(path) else part

    def fix_argument(part: str) -> str:
        option, equals, value = part.partition("=")
        if equals and option.startswith("-") and not os.path.isfile(home / part):
            return f"{option}={fix(value)}"
        return fix(part)

    # A bare program name is looked up in PATH, as a shell does, even if a file here has that name.
    first = command[0] if os.sep not in command[0] else fix(command[0])
    if os.sep in command[0] and os.sep not in first:
        first = f"./{first}"
    return (first, *(fix_argument(part) for part in command[1:]))
