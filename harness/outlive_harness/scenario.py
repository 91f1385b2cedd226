"""What is tested: the declaration of a scenario, and the discovery of scenario files.

This module is imported in every run of a function scenario, so it imports next to nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .globs import matcher

#: What a crash state or its recovery can violate; see the design's five truths.
KINDS = (
    "torn-output",
    "diverged",
    "recovery-failed",
    "recovery-hung",
    "litter",
    "not-idempotent",
    "lost-ack",
)


#: How ack() says it: a line of standard output, which survives the program that wrote it. Of what the group
#: named ``escaped`` holds, the escapes are undone.
ACK_PATTERN = r"^outlive-ack: (?P<escaped>.*)$"


def ack(value: object) -> None:
    """Promise that something is stored: what is acknowledged before a crash must be there after recovery.

    Call it where the pipeline would tell somebody that their data is safe. The harness demands that an
    output holds the value's text after the recovery, or hands the values to the scenario's check.
    """
    text = str(value).encode("unicode_escape").decode()
    os.write(1, os.fsencode(f"outlive-ack: {text}\n"))


class ScenarioError(ValueError):
    """A scenario that cannot be run as it is declared; the message says what and where."""


class Scenario:
    """One pipeline, and what must be true of it. Made by scenario(); the attributes are its arguments."""

    def __init__(  # noqa: PLR0913 - the keywords of the door
        self,
        *,
        name: str,
        body: Callable[[], object] | None,
        command: tuple[str, ...] | None,
        outputs: tuple[str, ...],
        expect: tuple[str, ...],
        faults: tuple[str, ...] | None,
        depth: int,
        restarts: int,
        timeout: float | None,
        append_only: tuple[str, ...],
        ignore: tuple[str, ...],
        litter: str,
        setup: Callable[[], object] | None,
        check: Callable[..., object] | None,
        acks: str,
        profile: str,
        input: str | None,  # noqa: A002 - the keyword's name
        file: str,
        line: int,
    ) -> None:
        self.name = name
        self.body = body
        self.command = command
        self.outputs = outputs
        self.expect = expect
        self.faults = faults
        self.depth = depth
        self.restarts = restarts
        self.timeout = timeout
        self.append_only = append_only
        self.ignore = ignore
        self.litter = litter
        self.setup = setup
        self.check = check
        self.acks = acks
        self.profile = profile
        self.input = input
        self.file = file
        self.line = line
        self.doc = (body.__doc__ or "").strip() if body else ""

    def __repr__(self) -> str:
        return f"<scenario {self.name} at {self.file}:{self.line}>"

    def __call__(self) -> None:
        """Run the body here and now, with no harness: for a debugger."""
        if self.body is None:
            raise ScenarioError(f"{self.name!r} runs a command and has no body to call")
        self.body()


def scenario(  # noqa: PLR0913 - the keywords of the door
    *,
    outputs: str | Iterable[str] = (),
    command: Sequence[str] | None = None,
    name: str = "",
    expect: str | Iterable[str] = (),
    faults: str | Iterable[str] | None = None,
    depth: int = 1,
    restarts: int = 1,
    timeout: float | None = None,
    append_only: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    litter: str = "warn",
    setup: Callable[[], object] | None = None,
    check: Callable[..., object] | None = None,
    acks: str = "",
    profile: str = "",
    input: str | os.PathLike[str] | None = None,  # noqa: A002 - as the command line's --input
) -> _Declaration:
    """Declare a pipeline to be tested.

    As a decorator, the function's body is the pipeline: it runs as a process of its own, in an empty
    box. With ``command=`` the call itself declares one, and the name it is assigned to is its name.

    Args:
        outputs: patterns of the files that readers see (``out/*``, ``out/**``); with neither outputs
            nor a check, every file of the box is an output.
        command: the program and its arguments, in place of a body. With ``{box}`` in an argument it
            runs in the scenario file's directory; without, in the box, and arguments that are
            existing files relative to the scenario file are made absolute.
        name: how reports and replay ids call it; by default the function's or variable's name.
        expect: violations that this known-bad pipeline must show: the scenario fails when the
            harness does *not* find them.
        faults: the faults that make sense for it; by default all that are asked for.
        depth: how many crashes in a row it is put through at least.
        restarts: how often a crashed pipeline may be started until it must have exited 0.
        timeout: seconds that one run may take; by default 20 times the golden run, at least 30.
        append_only: patterns of files of which a prefix that ends with a line is complete.
        ignore: patterns of files that are looked at by no check.
        litter: ``"warn"`` or ``"fail"``: what files mean that the golden run does not leave.
        setup: called in each new box before the pipeline first runs there.
        check: called in the box after a recovery. It may raise, and what it returns must equal (as
            ``repr``) what it returned after the golden run. If it takes an argument, that is the list
            of what was acknowledged before the crash, and an AssertionError is ``lost-ack``.
        acks: a regular expression; a line of standard output that it matches acknowledges what its
            first group holds, as ack() does.
        profile: what the disk promises where the power is cut (``posix``, ``ext4``, ``xfs``, ``btrfs``);
            by default the one that is asked for.
        input: a directory, relative to the scenario file, that is copied into each box first.

    Raises:
        ScenarioError: an argument is not of the form it should be; the message begins with it.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - where the declaration stands
    expected = _strings("expect", expect)
    for kind in expected:
        if kind not in KINDS:
            raise ScenarioError(f"expect={kind!r} is no violation; there are: {', '.join(KINDS)}")
    if command is not None and (isinstance(command, str) or not command):
        raise ScenarioError(f"command={command!r} must be a list: the program and its arguments")
    if litter not in ("warn", "fail"):
        raise ScenarioError(f"litter={litter!r} must be 'warn' or 'fail'")
    if not isinstance(profile, str):
        raise ScenarioError(f"profile={profile!r} must be the name of a profile, as 'ext4'")
    _whole("depth", depth)
    _whole("restarts", restarts)
    if timeout is not None and not timeout > 0:
        raise ScenarioError(f"timeout={timeout!r} must be a number of seconds over 0")
    for key, function in (("setup", setup), ("check", check)):
        if function is not None and not callable(function):
            raise ScenarioError(f"{key}={function!r} must be a function")
    return _Declaration(
        name=name,
        body=None,
        command=None if command is None else tuple(os.fspath(part) for part in command),
        outputs=checked_patterns("outputs", outputs),
        expect=expected,
        faults=None if faults is None else _strings("faults", faults),
        depth=depth,
        restarts=restarts,
        timeout=timeout,
        append_only=checked_patterns("append_only", append_only),
        ignore=checked_patterns("ignore", ignore),
        litter=litter,
        setup=setup,
        check=check,
        acks=_pattern("acks", acks),
        profile=profile,
        input=None if input is None else os.fspath(input),
        file=os.path.abspath(frame.f_code.co_filename),
        line=frame.f_lineno,
    )


class _Declaration(Scenario):
    """A scenario as scenario() returns it: complete with a command, or still to decorate a body."""

    def __call__(self, body: Callable[[], object] | None = None) -> Scenario:  # type: ignore[override]
        if not callable(body):
            raise ScenarioError(f"scenario() decorates a function, not {body!r}")
        if self.command is not None:
            raise ScenarioError(f"{body.__name__!r}: a scenario has a body or a command, not both")
        fields = {key: value for key, value in vars(self).items() if key != "doc"}
        fields |= {"body": body, "name": self.name or body.__name__, "line": body.__code__.co_firstlineno}
        return Scenario(**fields)


def _whole(key: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ScenarioError(f"{key}={value!r} must be a whole number from 1 on")


def _pattern(key: str, value: str) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        raise ScenarioError(f"{key}={value!r} is no regular expression: {error}") from error
    return value


def _strings(key: str, value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part for part in (value,) if part)
    parts = tuple(value)
    for part in parts:
        if not isinstance(part, str):
            raise ScenarioError(f"{key}={part!r} must be a string or several")
    return parts


def checked_patterns(key: str, value: str | Iterable[str]) -> tuple[str, ...]:
    """Return path patterns as a tuple, none of them one that can match nothing.

    Raises:
        ScenarioError: one cannot be read, or is not relative to the box; the message begins with it.
    """
    parts = _strings(key, value)
    for part in parts:
        if not part or part.startswith("/") or ".." in part.split("/"):
            raise ScenarioError(f"{key}={part!r} must be a pattern of paths relative to the box, as out/**")
        try:
            matcher([part])
        except re.error as error:
            raise ScenarioError(f"{key}={part!r} is no pattern: {error}") from error
    return parts


def load_file(path: str | Path) -> list[Scenario]:
    """Import one file and return its scenarios in the order they stand in.

    Raises:
        ScenarioError: a declaration that is left without body and command.
        Exception: whatever the file's own import raises.
    """
    path = Path(path).resolve()
    found: list[Scenario] = []
    for variable, value in vars(import_file(path)).items():
        if not isinstance(value, Scenario) or value in found or Path(value.file) != path:
            continue  # one that was imported from another file is that file's
        if value.body is None and value.command is None:
            raise ScenarioError(f"{path}:{value.line}: {variable} has neither a body nor a command")
        value.name = value.name or variable
        found.append(value)
    return found


def import_file(path: Path) -> object:
    """Import a scenario file under a name of its own, its directory on the path for its helpers."""
    directory = str(path.parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location(f"outlive_scenario_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ScenarioError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the scenario files among *paths*: files as they are, directories searched.

    Raises:
        ScenarioError: a path that does not exist.
    """
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            below = (file for file in path.rglob("*.py") if is_scenario_file(file))
            # Hidden directories hold other people's files, a virtual environment's for one.
            files += sorted(f for f in below if not any(p[0] == "." for p in f.relative_to(path).parts))
        elif path.is_file():
            files.append(path)
        else:
            raise ScenarioError(f"no such scenario file or directory: {path}")
    return list(dict.fromkeys(file.resolve() for file in files))


def is_scenario_file(path: Path) -> bool:
    """Tell a scenario file from a helper (``_name.py``) by its name."""
    return (
        path.suffix == ".py" and not path.name.startswith(("_", ".", "test_")) and path.name != "conftest.py"
    )
