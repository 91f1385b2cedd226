"""The declaration of a scenario: a pipeline, and what must be true of it.

This module is imported in every run of a function scenario, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, cast

from .keywords import KEYWORDS, LITTER_CHOICES, NAMES, TMP_CHOICES
from .params import cases, check_body, check_command, filled, taken_by
from .value_kinds import ScenarioError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "ACK_PATTERN",
    "NO_FILE",
    "Load",
    "Scenario",
    "ScenarioError",
    "ack",
    "loads",
    "scenario",
    "takes_acks",
]

#: The lines of standard output by which ack() acknowledges: they survive the program that wrote them. Escapes
#: in the group named ``escaped`` are undone.
ACK_PATTERN = r"^outlive-ack: (?P<escaped>.*)$"

#: The name of the file that declares a command's scenario: there is none in the directory that its relative
#: paths start from.
NO_FILE = "-"


def ack(value: object) -> None:
    """Promise that something is stored: what is acknowledged before a crash must be there after recovery.

    Call it where the pipeline would tell somebody that their data is safe. The harness demands that an
    output holds the value's text after the recovery, or hands the values to the scenario's check.
    """
    text = str(value).encode("unicode_escape").decode()
    os.write(1, os.fsencode(f"outlive-ack: {text}\n"))


#: How outputs are read: pairs of a pattern and a reader, the name of a built-in one or a function.
Readers = tuple[tuple[str, str | Callable[[Path], object]], ...]


class Scenario:
    """One pipeline, and what must be true of it. Made by scenario(); the attributes are its arguments."""

    name: str
    body: Callable[..., object] | None
    command: tuple[str, ...] | None
    params: dict[str, tuple[object, ...]] | None
    outputs: tuple[str, ...]
    expect: tuple[str, ...]
    faults: tuple[str, ...] | None
    depth: int
    restarts: int
    timeout: float | None
    read: Readers
    mask: tuple[str, ...]
    append_only: tuple[str, ...]
    settled: tuple[str, ...]
    together: tuple[str, ...]
    ignore: tuple[str, ...]
    litter: str
    setup: Callable[..., object] | None
    check: Callable[..., object] | tuple[str, ...] | None
    crash_check: Callable[..., object] | tuple[str, ...] | None
    acks: str
    profile: str
    torn: str
    input: str | None
    cwd: str | None
    env: tuple[str, ...]
    tmp: str
    freeze: str
    #: the values of its parameters, if it is one of the cases of params
    given: dict[str, Any]
    #: the marks of pytest on its body, or around its declaration
    marks: tuple[Any, ...]
    #: where it is declared
    file: str
    line: int
    #: the body's docstring
    doc: str

    def __init__(
        self, values: Mapping[str, Any], file: str, line: int, body: Callable[..., object] | None = None
    ) -> None:
        for name in NAMES:
            setattr(self, name, values[name])
        self.body = body
        self.file = file
        self.line = line
        self.doc = (body.__doc__ or "").strip() if body else ""
        self.given = {}
        self.marks = tuple(getattr(body, "pytestmark", ()))

    def __repr__(self) -> str:
        return f"<scenario {self.name} at {self.file}:{self.line}>"

    def __call__(self, **values: object) -> None:
        """Run the body here and now, with no harness: for a debugger.

        Args:
            **values: values of its parameters, in place of those of this case.
        """
        if self.body is None:
            raise ScenarioError(f"{self.name!r} runs a command and has no body to call")
        _completed(self.body(**{**self.given, **values}))

    def call(self, role: str, *more: object) -> object:
        """Call one of its functions, and return what it returns; one that is asynchronous is run to its end.

        Args:
            role: ``body``, ``setup`` or ``check``. The body gets all parameters, the others those that they
                take.
            *more: what it gets first.
        """
        function: Callable[..., object] = getattr(self, role)
        if role == "body":
            return _completed(function(**self.given))
        first, taken = taken_by(function, self.given)
        if more and first:
            return _completed(function(**{first: more[0]}, **taken))
        return _completed(function(*more, **taken))

    def cases(self) -> list[Scenario]:
        """Return a scenario for each combination of the parameters' values; itself if it has none."""
        if self.params is None or self.given:
            return [self]
        found = []
        for case in cases(self.params):
            made = object.__new__(Scenario)
            own = filled(vars(self), case.values)
            marks = (*self.marks, *case.marks)
            own |= {"name": f"{self.name}[{case.id}]", "given": case.values, "marks": marks}
            vars(made).update(vars(self) | own)
            found.append(made)
        return found


def _completed(value: object) -> object:
    """Return a function's value; if it is that of an async function, run it first."""
    if type(value) is not CoroutineType:  # not isinstance(): it may be anyone's proxy
        return value
    import asyncio  # noqa: PLC0415 - slow to import, and few bodies need it

    return asyncio.run(cast("Any", value))


def scenario(  # noqa: PLR0913 - the rows of the table of keywords, with their types
    body: Callable[..., object] | None = None,
    /,
    *,
    outputs: str | Iterable[str] = (),
    command: Sequence[str] | None = None,
    params: Mapping[str, Iterable[object]] | None = None,
    name: str = "",
    expect: str | Iterable[str] = (),
    faults: str | Iterable[str] | None = None,
    depth: int = 1,
    restarts: int = 1,
    timeout: float | None = None,
    read: Mapping[str, str | Callable[[Path], object]] | Iterable[str] = (),
    mask: str | Iterable[str] = (),
    append_only: str | Iterable[str] = (),
    settled: str | Iterable[str] = (),
    together: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    litter: str = LITTER_CHOICES[0],
    setup: Callable[..., object] | None = None,
    check: Callable[..., object] | str | Sequence[str] | None = None,
    crash_check: Callable[..., object] | str | Sequence[str] | None = None,
    acks: str = "",
    profile: str = "",
    torn: str = "",
    input: str | os.PathLike[str] | None = None,  # noqa: A002 - as the command line's --input
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | Iterable[str] = (),
    tmp: str = TMP_CHOICES[0],
    freeze: bool | str | datetime = "",
) -> _Declaration:
    """Declare a pipeline to be tested.

    As a decorator, with or without parentheses: the function's body is the pipeline, and runs as a process
    of its own in an empty box; an ``async def`` is run by asyncio.run().
    With ``command=``: the call itself declares a pipeline, and the variable that it is assigned to names it.

    Args:
        body: the function, if the decorator has no parentheses.
        outputs: patterns of the files that readers see (``out/*``, ``out/**``); with neither outputs
            nor a check, every file of the box is an output.
        command: the program and its arguments, in place of a body. If ``{box}`` is in an argument, the
            program runs in *cwd*, by default the scenario file's directory. Otherwise it runs in *cwd*, by
            default the box, and arguments that are existing files relative to the scenario file are made
            absolute.
        params: names of the body's arguments, each with a list of values: ``{"n": [1, 2]}``. Each
            combination is a scenario of its own, ``name[1]``. In a command, in ``input`` and in patterns,
            ``{n}`` stands for the value; a setup or a check gets the arguments that it takes.
        name: the name in reports and replay ids; by default the function's or variable's name.
        expect: violations that this known-bad pipeline must show. The scenario fails if the harness does
            *not* find them and none of the faults that it declares was left out.
        faults: the faults that make sense for it, as several strings or as ``"kill,torn"``; by default all
            that are asked for. The scenario is skipped if none of its faults is asked for.
        depth: how many crashes in a row to try at least.
        restarts: how often a crashed pipeline may be started until it must have exited with 0.
        timeout: seconds that one run may take; by default 20 times the golden run, at least 30.
        read: how outputs are read, by pattern: ``{"out/*.gz": "gzip", "out/r.json": "json:-at", "out/x": f}``
            An output with a reader is judged by the value that the reader gives, not by its bytes: it is
            complete where its reader accepts it and the value is one that a run made whole. A reader is the
            name of a built-in one (``gzip``, ``zip``, ``tar``, ``xlsx``, ``sqlite``, ``parquet``, ``arrow``,
            ``npy``, ``csv``, ``json``, ``yaml``, ``text``, ``bytes``), perhaps with keys or columns that are
            left out, or a function that takes a path and returns a value. A pattern may match a directory,
            which is then one output.
        mask: regular expressions. What they match in text is left out when outputs are compared.
        append_only: patterns of files of which a prefix that ends with a line is complete.
        settled: patterns of files that may be partial at a crash, and must be right after the recovery: a
            log that its program repairs, an index, a database that is kept open.
        together: patterns of files that belong together, a set each: a crash leaves all files of one version
            of the set, or none. ``out/* if out/_SUCCESS``: only while that file is there.
        ignore: patterns of files that no check looks at.
        litter: ``"warn"`` or ``"fail"``: what files mean that the golden run does not leave.
        setup: a function to call in each new box before the pipeline first runs there.
        check: a function to call in the box after a recovery. It may raise, and what it returns must equal
            (as ``repr``) what it returned after the golden run. If it takes an argument, it gets the list
            of values that were acknowledged before the crash, and an AssertionError, or a subclass of it,
            is then ``lost-ack``. Or a command, which must exit with 0 and print what it printed after the
            golden run; if ``{acks}`` is in an argument, it stands for the path of a file that holds those
            values, one a line, and exit status 1 is then ``lost-ack``.
        crash_check: a function or a command as ``check`` takes it, to run on what a crash left, before the
            recovery, which does not see what it changes. It must hold before the run, too, and after it.
            What it returns or prints is not compared. ``torn-output`` if it fails, or ``lost-ack`` as for
            ``check``. If it takes what was acknowledged, and ``check`` does not, it judges that after a
            recovery too.
        acks: a regular expression. A line of standard output that it matches acknowledges the text of its
            first group, as ack() does.
        profile: what the disk promises when the power is cut (``posix``, ``ext4``, ``xfs``, ``btrfs``);
            by default the profile that is asked for.
        torn: where ``torn`` cuts a write: ``"pages"``, where a page of the file ends, as SIGKILL does (the
            default), or ``"bytes"``, anywhere, as a network file system or a handled signal may.
        input: a directory, relative to the scenario file, to copy into each box first.
        cwd: the directory, relative to the scenario file, that the pipeline runs in; by default the box. It
            may read there, but write only to the box, whose path is ``{box}`` in the command and in *env*,
            and the variable ``OUTLIVE_BOX``. The setup and the check run in the box.
        env: variables of the environment, ``{"NAME": "VALUE"}``; ``{box}`` in a value is the box's path.
        tmp: ``"other"``: the temporary directory is on another file system, as on most machines, so a
            rename from there fails with EXDEV; or ``"same"``: it is on that of the outputs.
        freeze: an instant at which the wall clock stands still for every process of every run, in ISO 8601
            with an offset or Z, or as a datetime with a time zone; True for one that is always the same.
            Monotonic time runs on, and the kernel stamps files with real times.

    Raises:
        ScenarioError: an argument has a wrong type or value; the message begins with its name.
    """
    given = locals()
    if body is not None and not callable(body):
        raise ScenarioError(f"scenario({body!r}) takes keywords only: write its name, as outputs={body!r}")
    frame = _declaring(sys._getframe(1))  # noqa: SLF001 - the line of the declaration
    values = {keyword.name: keyword.checked(given[keyword.name]) for keyword in KEYWORDS}
    made = _Declaration(values, os.path.abspath(frame.f_code.co_filename), frame.f_lineno)
    if made.params and made.command:
        check_command(made.params, values)
    for load in loads[-1:]:
        load.made[made] = load.line_of(frame)
    return made if body is None else cast("_Declaration", made(body))


class _Declaration(Scenario):
    """A scenario as scenario() returns it: complete with a command, or still to decorate a body."""

    def __call__(self, body: Callable[..., object] | None = None) -> Scenario:  # type: ignore[override]
        if not callable(body):
            raise ScenarioError(f"scenario() decorates a function, not {body!r}")
        if self.command is not None:
            called = getattr(body, "__name__", body)
            raise ScenarioError(f"{called!r}: a scenario has a body or a command, not both")
        check_body(body, self.params or {})
        line = self.line
        code = getattr(body, "__code__", None)
        if code is not None and os.path.abspath(code.co_filename) == self.file:
            line = code.co_firstlineno
        name = self.name or getattr(body, "__name__", "").replace("<lambda>", "")
        made = Scenario(vars(self) | {"name": name}, self.file, line, body)
        for load in loads[-1:]:
            load.made[made] = load.made.pop(self, self.line)
        return made


class Load:
    """A scenario file while it is imported, and the scenarios that were declared meanwhile.

    Attributes:
        path: the file.
        made: the scenarios; for each the line of the file from which it was declared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[Scenario, int] = {}

    def line_of(self, frame: FrameType | None) -> int:
        """Return the line of the file itself from which a frame was called."""
        while frame is not None and frame.f_code.co_filename != str(self.path):
            frame = frame.f_back
        return frame.f_lineno if frame is not None else 1


#: The files that are being imported, the innermost last.
loads: list[Load] = []


def _declaring(frame: FrameType) -> FrameType:
    """Return the frame of a module, in a file that is imported, from which scenario() was called.

    Without an import under way it is the calling frame.
    """
    found: FrameType | None = frame if loads else None
    while found is not None and found.f_code.co_name != "<module>":
        found = found.f_back
    return found or frame


def takes_acks(check: Callable[..., object], given: Mapping[str, object] | None = None) -> bool:
    """Return whether a check, which may be any callable, takes the acknowledged values.

    Args:
        check: the check.
        given: the parameters of its scenario, of which it takes none for the acknowledged values.
    """
    import inspect  # noqa: PLC0415 - slow to import, and no body needs it

    try:
        parameters = inspect.signature(check).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    several = (one for one in parameters if one.name not in (given or ()))
    return any(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in several)
