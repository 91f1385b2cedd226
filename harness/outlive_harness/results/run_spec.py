"""A run spec: what a run of a scenario needs, as plain data, so that any worker process can run it."""

from __future__ import annotations

import hashlib
import os
import re
import site
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .globs import matcher
from .instants import SECOND, nanoseconds
from .keywords import LITTER_CHOICES, NAMES, TMP_CHOICES
from .patterns import literal
from .reader_names import DATABASE, FUNCTION, JOURNALS, choice, is_one_output
from .scenario import ACK_PATTERN, NO_FILE, Scenario, takes_acks
from .starters import Started, looked_through

#: The directories of the box that TMPDIR and HOME name: files there are seen, but never outputs.
TMP, HOME = ".tmp", ".home"
#: Stands for the box's path in a command and in a variable.
BOX = "{box}"
#: The variable of each program of a run that holds the box's path.
BOX_VARIABLE = "OUTLIVE_BOX"
#: Stands in a check's command for the path of a file with the acknowledged values, one a line.
ACKS = "{acks}"
#: Temporary files that interpreters keep while they run, and that a kill leaves: counters of the JVM, session
#: directories of R and of Python's multiprocessing, pipes of .NET.
_SESSIONS = re.compile(
    r"(?:^|/)(?:\.?tmp)/(?:hsperfdata_|Rtmp|pymp-|clr-debug-pipe-|dotnet-diagnostic-)[^/]+"
)
#: Python's tempfile tries a directory by writing "blat" to such a file.
_PROBE = re.compile(re.escape(TMP) + r"/[a-z0-9_]{8}")
#: Variables that a test runner or a shell sets; a pipeline must not depend on them.
_FOREIGN = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT",
            "PYTEST_XDIST_TESTRUNUID", "OLDPWD")  # fmt: skip
#: Variables that switch assertions off, or let a failed program exit with 0: not for a scenario's functions,
#: which report by assertions and exceptions.
_MUTING = ("PYTHONOPTIMIZE", "PYTHONINSPECT")
#: The program that runs a function of a scenario file. -P: the box is the working directory, and no file
#: in it may shadow a module.
_FUNCTION = (sys.executable, "-P", "-m", "outlive_harness._body")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run of a scenario needs. Fields named as a keyword of scenario() mean the same.

    Attributes:
        name: the scenario's name.
        argv: the program; ``{box}`` stands for the box's path.
        home: the directory of the scenario file, or of the user.
        is_typed: whether a command line declares it, and no scenario file.
        outputs: patterns; empty for all files but those of TMPDIR and HOME.
        judge_outputs: whether outputs are compared; not if a check takes their place.
        read: the readers of outputs, by pattern: a built-in one's text, or ``@`` and a number for a function.
        mask: regular expressions of what is left out of text.
        readers: the scenario file, its name and its directory, if functions read outputs.
        setup: the program that prepares a box, if any.
        check: the program that examines a recovered box and prints what must not differ, if any.
        check_takes_acks: whether the check judges what was acknowledged.
        crash_check: the program that examines a crash state, if any.
        crash_check_takes_acks: the same for the crash check.
        acks: pattern of the lines of standard output that acknowledge something; "" for none.
        source: a directory to copy into each box, if any.
        cwd: the directory that the pipeline runs in; None for the box.
        env: variables that are added to the environment, as NAME=VALUE; ``{box}`` stands for the box's path.
        scripts: scripts of a shell that only start the program: see starters.py.
        own: files of the user that the arguments name; the program must not change them.
        standing: the user's working directory; nothing may be written there.
        freeze: the instant at which the wall clock stands, in its one form; "" if it runs.
        environ: the environment of this process, without the variables that test runners set.
        edition: tells run specs apart that are equal while the files that they read may have changed.
    """

    name: str
    argv: tuple[str, ...]
    home: str
    is_typed: bool = False
    outputs: tuple[str, ...] = ()
    judge_outputs: bool = True
    read: tuple[tuple[str, str], ...] = ()
    mask: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    append_only: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    litter: str = LITTER_CHOICES[0]
    restarts: int = 1
    timeout: float | None = None
    setup: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None
    check_takes_acks: bool = False
    crash_check: tuple[str, ...] | None = None
    crash_check_takes_acks: bool = False
    acks: str = ""
    source: str | None = None
    cwd: str | None = None
    env: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    standing: str = ""
    tmp: str = TMP_CHOICES[0]
    freeze: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    edition: str = ""

    @property
    def is_function(self) -> bool:
        """Whether the pipeline is a function in a scenario file."""
        return is_function(self.argv)

    @property
    def takes_acks(self) -> bool:
        """Whether a check judges what was acknowledged; else some output must hold it."""
        return self.check_takes_acks or self.crash_check_takes_acks

    @property
    def instant(self) -> int | None:
        """The instant at which the wall clock stands, in nanoseconds since 1970; None if it runs."""
        return nanoseconds(self.freeze) if self.freeze else None

    def key(self) -> str:
        """Return a short name for a run spec's golden run: equal run specs share one."""
        text = repr([getattr(self, item.name) for item in fields(self)])
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()

    def program(self) -> str:
        """Return a short name for what is started: run specs that differ only in their input have one."""
        return replace(self, source=None).key()

    def command(self, argv: Sequence[str], box: Path) -> tuple[list[str], Path]:
        """Return the argument list for a box, and the directory to run it in."""
        made = [part.replace(BOX, str(box)) for part in argv]
        if self._is_helper(argv):
            return made, box if made == list(argv) else Path(self.home)
        return made, box if self.cwd is None else Path(self.cwd)

    def _is_helper(self, argv: Sequence[str]) -> bool:
        """Return whether a program is the setup or the check, perhaps with more arguments."""
        return any(
            tuple(argv[: len(one)]) == one for one in (self.setup, self.check, self.crash_check) if one
        )

    def environment(self, box: Path, argv: Sequence[str] | None = None) -> dict[str, str]:
        """Return the environment of a program: the user's, with temporary files and caches in the box.

        Variables that the scenario sets itself come last. For a function of a scenario file, variables that
        switch assertions off are removed.

        Args:
            box: the box that the program runs in.
            argv: the program, with ``{box}``; None for the pipeline.
        """
        argv = self.argv if argv is None else argv
        env = dict(self.environ)
        home, tmp = str(box / HOME), str(box / TMP)
        # With another HOME, Python would not find the packages of the user's site directory.
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
            BOX_VARIABLE: str(box),
        }
        for variable in self.env:
            name, _, value = variable.partition("=")
            env[name] = value.replace(BOX, str(box))
        if is_function(argv):
            for name in _MUTING:
                env.pop(name, None)
        if self.instant is not None:  # https://reproducible-builds.org/specs/source-date-epoch/
            env.setdefault("SOURCE_DATE_EPOCH", str(self.instant // SECOND))
        return env

    def is_output(self, path: str) -> bool:
        """Return whether a path, relative to the box, is that of an output."""
        if not self.judge_outputs or is_private(path) or self.is_ignored(path):
            return False
        return not self.outputs or matcher(self.outputs)(path)

    def is_named(self, path: str) -> bool:
        """Return whether the outputs name a path even if it is ignored.

        They do without a wildcard, or by a pattern that is also one of those to ignore.
        """
        if not self.judge_outputs or is_private(path):
            return False
        return literal(path) in self.outputs or matcher({*self.outputs} & {*self.ignore})(path)

    def reader_of(self, path: str) -> str:
        """Return the reader of a path; "" if it is judged by its bytes.

        A pattern may name a file that is an output only through a link.
        """
        reader = self._declared_reader(path)
        if reader == "bytes" or (reader and self.is_ignored(path)):
            return ""
        return reader or ("text" if self.mask and self.is_output(path) else "")

    def is_one_output(self, path: str) -> bool:
        """Return whether a reader takes a directory, with all that is in it, as one output."""
        return bool(self.read) and is_one_output(self.read, path) and self.is_output(path)

    def has_reader(self, path: str) -> bool:
        """Return whether the user says how a path is read: not by a mask alone, which is for every output."""
        return bool(self._declared_reader(path))

    def _declared_reader(self, path: str) -> str:
        return choice(self.read)(path) if self.read else ""

    def is_of_database(self, path: str) -> bool:
        """Return whether a path is a database that is read as one, or its journal."""
        owners = (path.removesuffix(end) for end in ("", *JOURNALS))
        return any(self._declared_reader(owner) == DATABASE for owner in owners)

    def is_append_only(self, path: str) -> bool:
        """Return whether a prefix of the file counts as complete."""
        return matcher(self.append_only)(path)

    def is_settled(self, path: str) -> bool:
        """Return whether the file may be partial at a crash."""
        return bool(self.settled) and matcher(self.settled)(path)

    def is_ignored(self, path: str) -> bool:
        """Return whether no check looks at a path: it is ignored itself, or below an ignored directory."""
        if not self.ignore:
            return False
        matches, parts = matcher(self.ignore), path.split("/")
        return any(matches("/".join(parts[:depth])) for depth in range(len(parts), 0, -1))


def is_function(argv: Sequence[str]) -> bool:
    """Return whether a program is a function in a scenario file."""
    return tuple(argv[: len(_FUNCTION)]) == _FUNCTION


def is_of_interpreter(path: str, size: int = -1) -> bool:
    """Return whether a path belongs to an interpreter while it runs, and not to the program.

    Args:
        path: a path relative to the box.
        size: the size of the file, in bytes; -1 if it is not a file, or unknown.
    """
    if _PROBE.fullmatch(path) and size >= 0:
        return size <= len("blat")
    return _SESSIONS.search(path) is not None


def is_private(path: str) -> bool:
    """Return whether a path of the box is in the directory that TMPDIR or HOME names."""
    return path.split("/", 1)[0] in (TMP, HOME)


#: Fields that are keywords: their values are the scenario's, unless run_spec_of() makes them.
_DECLARED = tuple(field.name for field in fields(RunSpec) if field.name in NAMES)


def run_spec_of(scenario: Scenario) -> RunSpec:
    """Return the run spec of a scenario."""
    home = Path(scenario.file).parent

    def role(name: str) -> tuple[str, ...]:
        return (*_FUNCTION, scenario.file, scenario.name, name, str(Path.cwd()))

    def program(name: str) -> tuple[str, ...] | None:
        given = getattr(scenario, name)
        return absolute(given, home, source) if isinstance(given, tuple) else role(name) if given else None

    source = home / scenario.input if scenario.input else None
    cwd = None if scenario.cwd is None else str(home / scenario.cwd)
    environ = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    started = Started(role("body"))
    if scenario.command is not None:
        names_box = any(BOX in part for part in scenario.command)
        here = str(home) if names_box and cwd is None else cwd
        argv = absolute(scenario.command, home, source, cwd)
        started = looked_through(argv, here=here, path=environ.get("PATH"))
        cwd = started.cwd or here
    declared = {name: getattr(scenario, name) for name in _DECLARED}
    made: dict[str, Any] = {
        "argv": started.argv,
        "home": str(home),
        "is_typed": os.path.basename(scenario.file) == NO_FILE,
        "judge_outputs": bool(scenario.outputs) or scenario.check is None,
        "setup": program("setup"),
        "check": program("check"),
        "check_takes_acks": _takes_acks(scenario.check, scenario),
        "crash_check": program("crash_check"),
        "crash_check_takes_acks": _takes_acks(scenario.crash_check, scenario),
        "acks": scenario.acks or (ACK_PATTERN if scenario.body else ""),
        "source": None if source is None else str(source),
        "cwd": cwd,
        "env": (*scenario.env, *started.env),
        "scripts": started.scripts,
        "standing": str(Path.cwd()),
        "own": () if scenario.command is None else (*_own(started.argv), *started.scripts),
        "read": tuple(
            (glob, reader if isinstance(reader, str) else f"{FUNCTION}{number}")
            for number, (glob, reader) in enumerate(scenario.read)
        ),
        "readers": (scenario.file, scenario.name, str(Path.cwd()))
        if any(callable(reader) for _, reader in scenario.read)
        else (),
        "environ": tuple(sorted(environ.items())),
    }
    return RunSpec(**declared | made)


def _takes_acks(check: Callable[..., object] | tuple[str, ...] | None, scenario: Scenario) -> bool:
    """Return whether a check, a function or a command, takes the acknowledged values."""
    if isinstance(check, tuple):
        return any(ACKS in part for part in check)
    return check is not None and takes_acks(check, scenario.given)


def _own(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the files of the user that arguments name; their paths are absolute by now."""
    named = (name for part in argv for name in (part, part.partition("=")[2]))
    return tuple(dict.fromkeys(name for name in named if os.path.isabs(name) and os.path.isfile(name)))


def absolute(
    command: Sequence[str], home: Path, source: Path | None = None, cwd: str | None = None
) -> tuple[str, ...]:
    """Return a command with its arguments that are existing files, relative to *home*, made absolute.

    A path below *source*, which is copied into each box, becomes relative to the box: the copy is used. So
    does a relative path that *source* has, even if *home* has such a file too: that is where it will be. A
    command with ``{box}`` in it is unchanged, since it runs in *home*, and so is an argument that exists in
    *cwd*, where the command then runs. Directories are unchanged, since the pipeline may make one of that
    name in its box.
    """
    if any(BOX in part for part in command) and cwd is None:
        return tuple(command)
    top = None if source is None else os.path.realpath(source)

    def fix(part: str) -> str:
        if not part or (cwd is not None and os.path.exists(os.path.join(cwd, part))):
            return part
        if source is not None and not os.path.isabs(part) and os.path.isfile(source / part):
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
