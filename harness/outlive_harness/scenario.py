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
from types import FrameType, ModuleType

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
#: Where ``torn`` cuts a write: at pages of its file, as SIGKILL does (the default), or at any byte.
CUTS = ("pages", "bytes")

#: What the temporary directory is to a pipeline, the default first: on another file system than the box, as
#: on most machines, or on the same.
TMP_CHOICES = ("other", "same")

#: How ack() says it: a line of standard output, which survives the program that wrote it. Of what the group
#: named ``escaped`` holds, the escapes are undone.
ACK_PATTERN = r"^outlive-ack: (?P<escaped>.*)$"

#: Is set to a scenario file where its functions run: there its directory stays on the path.
RUNNING = "OUTLIVE_SCENARIO_FILE"


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
        torn: str,
        input: str | None,  # noqa: A002 - the keyword's name
        file: str,
        line: int,
        tmp: str = TMP_CHOICES[0],
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
        self.torn = torn
        self.input = input
        self.tmp = tmp
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
    torn: str = "",
    input: str | os.PathLike[str] | None = None,  # noqa: A002 - as the command line's --input
    tmp: str = TMP_CHOICES[0],
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
            harness does *not* find them, and none of the faults that it declares was left out.
        faults: the faults that make sense for it; by default all that are asked for. It is skipped
            where none of them is.
        depth: how many crashes in a row it is put through at least.
        restarts: how often a crashed pipeline may be started until it must have exited 0.
        timeout: seconds that one run may take; by default 20 times the golden run, at least 30.
        append_only: patterns of files of which a prefix that ends with a line is complete.
        ignore: patterns of files that are looked at by no check.
        litter: ``"warn"`` or ``"fail"``: what files mean that the golden run does not leave.
        setup: called in each new box before the pipeline first runs there.
        check: called in the box after a recovery. It may raise, and what it returns must equal (as
            ``repr``) what it returned after the golden run. If it takes an argument, that is the list
            of what was acknowledged before the crash, and an AssertionError, or one of a class derived
            from it, is ``lost-ack``.
        acks: a regular expression; a line of standard output that it matches acknowledges what its
            first group holds, as ack() does.
        profile: what the disk promises where the power is cut (``posix``, ``ext4``, ``xfs``, ``btrfs``);
            by default the one that is asked for.
        torn: where ``torn`` cuts a write: ``"pages"``, where a page of the file ends, as SIGKILL does (the
            default), or ``"bytes"``, anywhere, as a network file system or a signal that is handled may.
        input: a directory, relative to the scenario file, that is copied into each box first.
        tmp: ``"other"``: the temporary directory is on another file system, as on most machines, so a
            rename from there fails with EXDEV; or ``"same"``: it is on that of the outputs.

    Raises:
        ScenarioError: an argument is not of the form it should be; the message begins with it.
    """
    frame = _place(sys._getframe(1))  # noqa: SLF001 - where the declaration stands
    _text("name", name, "a string")
    expected = _strings("expect", expect)
    for kind in expected:
        if kind not in KINDS:
            raise ScenarioError(f"expect={kind!r} is no violation; there are: {', '.join(KINDS)}")
    if command is not None and (isinstance(command, str) or not command):
        raise ScenarioError(f"command={command!r} must be a list: the program and its arguments")
    if litter not in ("warn", "fail"):
        raise ScenarioError(f"litter={litter!r} must be 'warn' or 'fail'")
    if tmp not in TMP_CHOICES:
        raise ScenarioError(f"tmp={tmp!r} must be {' or '.join(map(repr, TMP_CHOICES))}")
    _text("profile", profile, "the name of a profile, as 'ext4'")
    if torn not in ("", *CUTS):
        raise ScenarioError(f"torn={torn!r} must be 'pages' or 'bytes'")
    _whole("depth", depth)
    _whole("restarts", restarts)
    _seconds("timeout", timeout)
    for key, function in (("setup", setup), ("check", check)):
        if function is not None and not callable(function):
            raise ScenarioError(f"{key}={function!r} must be a function")
    made = _Declaration(
        name=name,
        body=None,
        command=None if command is None else tuple(_path("command", part) for part in command),
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
        torn=torn,
        input=None if input is None else _path("input", input),
        file=os.path.abspath(frame.f_code.co_filename),
        line=frame.f_lineno,
        tmp=tmp,
    )
    for load in _loads[-1:]:
        load.made[made] = load.line_of(frame)
    return made


class _Declaration(Scenario):
    """A scenario as scenario() returns it: complete with a command, or still to decorate a body."""

    def __call__(self, body: Callable[[], object] | None = None) -> Scenario:  # type: ignore[override]
        if not callable(body):
            raise ScenarioError(f"scenario() decorates a function, not {body!r}")
        if self.command is not None:
            called = getattr(body, "__name__", body)
            raise ScenarioError(f"{called!r}: a scenario has a body or a command, not both")
        fields = {key: value for key, value in vars(self).items() if key != "doc"}
        fields |= {"body": body, "name": self.name or getattr(body, "__name__", "")}
        code = getattr(body, "__code__", None)
        if code is not None and os.path.abspath(code.co_filename) == self.file:
            fields["line"] = code.co_firstlineno
        made = Scenario(**fields)
        for load in _loads[-1:]:
            load.made[made] = load.made.pop(self, self.line)
        return made


class _Load:
    """A file that is being loaded, and what was declared meanwhile.

    Attributes:
        path: the file.
        made: the scenarios, each with the line of the file that had it made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[Scenario, int] = {}

    def line_of(self, frame: FrameType | None) -> int:
        """Return the line at which the file itself stands, under a frame."""
        while frame is not None and frame.f_code.co_filename != str(self.path):
            frame = frame.f_back
        return frame.f_lineno if frame is not None else 1


#: The files that are being loaded, the innermost last.
_loads: list[_Load] = []


def _place(frame: FrameType) -> FrameType:
    """Return where a declaration stands: in the file that a helper's function was called from."""
    found: FrameType | None = frame if _loads else None
    while found is not None and found.f_code.co_name != "<module>":
        found = found.f_back
    return found or frame


def takes_acks(check: Callable[..., object]) -> bool:
    """Tell whether a check, which may be anything that can be called, takes what was acknowledged."""
    import inspect  # noqa: PLC0415 - slow to import, and no body needs it

    try:
        parameters = inspect.signature(check).parameters.values()
    except (TypeError, ValueError):  # some builtins do not tell
        return False
    return any(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)


def _path(key: str, value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return text
    raise ScenarioError(f"{key}={value!r} must be a string or a path")


def _text(key: str, value: object, what: str) -> None:
    if not isinstance(value, str):
        raise ScenarioError(f"{key}={value!r} must be {what}")


def _seconds(key: str, value: object) -> None:
    if value is not None and not (isinstance(value, (int, float)) and 0 < value < float("inf")):
        raise ScenarioError(f"{key}={value!r} must be a number of seconds over 0")


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
    if not isinstance(value, Iterable):
        raise ScenarioError(f"{key}={value!r} must be a string or several")
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
        ScenarioError: a declaration that is left without body and command, or that no name stands for.
        Exception: whatever the file's own import raises.
    """
    path = Path(path).resolve()
    load = _Load(path)
    known = set(sys.modules)
    search = list(sys.path)
    # In the process that runs the file's functions they may import helpers at any time.
    runs_here = Path(os.environ.get(RUNNING, "")).resolve() == path
    _loads.append(load)
    try:
        module = import_file(path)
        found = _exposed(module, load)
        if not runs_here:
            _demand_names(load, found, _modules_since(known).values())
        return found
    finally:
        _loads.remove(load)
        if not runs_here:
            _forget(path, known)
            sys.path[:] = search


def _exposed(module: object, load: _Load) -> list[Scenario]:
    """Return the scenarios that a loaded file has names for, without those of other scenario files."""
    found: list[Scenario] = []
    for variable, value in vars(module).items():
        if not isinstance(value, Scenario) or value in found or _is_foreign(value, load.path):
            continue
        if value.body is None and value.command is None:
            if value not in load.made:
                continue  # it has decorated a function, which is the scenario
            raise ScenarioError(f"{load.path}:{value.line}: {variable} has neither a body nor a command")
        value.name = value.name or variable
        if value.file != str(load.path):  # a helper's: it is this file that has it run
            value.file, value.line = str(load.path), load.made.get(value, 1)
        found.append(value)
    return found


def _is_foreign(one: Scenario, path: Path) -> bool:
    """Tell whether another scenario file beside or below this one declares it, and has it run."""
    file = Path(one.file)
    return file != path and is_scenario_file(file) and file.is_relative_to(path.parent)


def _demand_names(load: _Load, found: Sequence[Scenario], modules: Iterable[object]) -> None:
    """Refuse what was declared and would silently not run, as nothing can find it.

    A helper's scenario that has a name in the helper is there for the files that import it.
    """
    real = [each for each in modules if isinstance(each, ModuleType)]
    values = (value for each in real for value in vars(each).copy().values())
    named = {*found, *(value for value in values if _is_made(value, load))}
    for one in load.made:
        if one in named or _is_foreign(one, load.path):
            continue
        what = repr(one.name) if one.name else "a scenario"
        why = "no name is left that stands for it"
        if any(one.name == other.name for other in found):
            why = "a later one has taken its name"
        raise ScenarioError(
            f"{one.file}:{one.line}: {what} is declared here and would not run: {why}; "
            "assign it to a name of its own at the top of the file"
        )


def _is_made(value: object, load: _Load) -> bool:
    # By its type: isinstance() would ask a proxy, of whatever library, for what it stands for.
    return issubclass(type(value), Scenario) and value in load.made


def _modules_since(known: set[str]) -> dict[str, object]:
    """Return the modules that were imported since; a copy, for threads may import more."""
    return {name: module for name, module in sys.modules.copy().items() if name not in known}


def _forget(path: Path, known: set[str]) -> None:
    """Forget the modules that were imported from a file's directory: another one's may be called so, too.

    Also a file ``xml.py`` is no module that anything else may get.
    """
    directory = str(path.parent)
    new = _modules_since(known)
    tops = {name for name, module in new.items() if "." not in name and _is_from(module, name, directory)}
    tops.discard(_module_name(path))
    for name in new:
        if name.partition(".")[0] in tops:
            sys.modules.pop(name, None)


def _is_from(module: object, name: str, directory: str) -> bool:
    """Tell whether a module or package, not in another, was found in a directory of the path."""
    if not isinstance(module, ModuleType):
        return False
    # Not getattr: a module that imports lazily would begin to.
    if os.path.join(directory, name) in list(vars(module).get("__path__") or ()):
        return True
    return os.path.dirname(vars(module).get("__file__") or "") == directory


def _module_name(path: Path) -> str:
    return f"outlive_scenario_{path.stem}"


def import_file(path: Path) -> object:
    """Import a scenario file under a name of its own, its directory on the path for its helpers."""
    # First, also where it is on the path already: a helper here goes before another directory's.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
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
        ScenarioError: a path that does not exist, or an empty one.
    """
    files: list[Path] = []
    for given in paths:
        if given == "":
            raise ScenarioError("PATH='' is no path: . is the working directory")
        path = Path(given)
        if path.is_dir():
            below = (file for file in path.rglob("*.py") if is_scenario_file(file) and file.is_file())
            # Hidden directories hold other people's files, a virtual environment's for one.
            files += sorted(f for f in below if not any(p[0] == "." for p in f.relative_to(path).parts))
        elif path.is_file():
            files.append(path)
        else:
            raise ScenarioError(f"no such scenario file or directory: {path}")
    return list(dict.fromkeys(Path(os.path.realpath(file)) for file in files))


def is_scenario_file(path: Path) -> bool:
    """Tell a scenario file from a helper (``_name.py``) by its name."""
    return (
        path.suffix == ".py" and not path.name.startswith(("_", ".", "test_")) and path.name != "conftest.py"
    )
