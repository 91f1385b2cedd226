"""The frames of a program's stack: the user's own lines and those of packages; others are left out."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from outlive_harness.golden.record import Record
from outlive_harness.launch.zygote import own_packages, parse

_FRAME = re.compile(r"(?P<file>.+):(?P<line>[0-9]+) (?P<function>.*)")
_SITE = re.compile(r".*/(?:site|dist)-packages/")
#: The standard library and our two packages, wherever they are: frames that are left out.
_FOLDED = re.compile(
    r"/lib(64)?/python3[^/]*/|/outlive_harness/|/outlive/(_[a-z_]+/[a-z_]+|(remote/)?_[a-z_]+)\.py$"
)
#: Code of the user's own that is not in a file.
_TYPED = re.compile(r"<(stdin|ipython-input.*)>")
_STRING = "<string>"
_BODY = "outlive_harness._body"


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a call stack.

    Attributes:
        file: its path as the user knows it: relative if it is below the working directory, or was in the box.
        line: the line in the file.
        function: the function's name.
        package: the name and version of the installed package; "" for the program's own code.
    """

    file: str
    line: int
    function: str
    package: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it belongs to the program itself, not to a package."""
        return not self.package

    def __str__(self) -> str:
        name = "" if self.function in ("", "<module>") else f" in {self.function.replace('<locals>.', '')}"
        return f"{self.file}:{self.line}{name}"


class Frames:
    """Reads the stacks of one pipeline's runs.

    Args:
        record: the golden run.
        box: the box of the runs.
    """

    def __init__(self, record: Record, box: Path) -> None:
        argv, cwd = record.spec.command(record.spec.argv, box)
        script = parse(argv)
        self._box, self._cwd = os.path.realpath(box) + os.sep, str(cwd)
        self._source = record.spec.source
        self._is_string = script is not None and script.kind == "code"
        self._main = script.target.partition(".")[0] if script is not None and script.kind == "module" else ""
        self._known: dict[bytes, tuple[Frame, ...]] = {}
        self._files: dict[str, tuple[str, str] | None] = {}

    def of(self, text: bytes) -> tuple[Frame, ...]:
        """Return the frames of a stack that a program wrote, the innermost first, without those left out."""
        if text not in self._known:
            lines = text.decode(errors="surrogateescape").split("\n")
            frames = (self._frame(*match.groups()) for match in map(_FRAME.fullmatch, lines) if match)
            self._known[text] = tuple(frame for frame in frames if frame is not None)
        return self._known[text]

    def _frame(self, file: str, line: str, function: str) -> Frame | None:
        if file not in self._files:
            self._files[file] = self._known_as(file)
        known = self._files[file]
        return None if known is None else Frame(known[0], int(line), function, known[1])

    def _known_as(self, file: str) -> tuple[str, str] | None:
        """Return a file's path for the user, and its package; None if its frames are left out."""
        if file.startswith("<"):
            is_own = _TYPED.fullmatch(file) or (file == _STRING and self._is_string)
            return (file, "") if is_own else None
        path = os.path.normpath(os.path.join(self._cwd, file))
        site = _SITE.match(path)
        if site is None:
            launches = os.path.basename(path) if _is_launcher(path) else ""
            return None if _FOLDED.search(path) else (self.shown(path), launches)
        package = self._package(site[0], path)
        if package is None:
            return None
        return (path[len(site[0]) :], package) if package else (self.shown(path), "")

    def _package(self, site: str, path: str) -> str | None:
        """Return the package of an installed file; "" if it is the program's own, None if it is ours."""
        top = path[len(site) :].partition("/")[0].removesuffix(".py")
        if top in ("outlive", "outlive_harness"):
            return None
        return "" if top == self._main or top in own_packages(site) else _distribution(site, top)

    def shown(self, path: str) -> str:
        """Return the path by which the user knows a file, as boxes are gone when a report is read."""
        real = os.path.realpath(os.path.dirname(path)) + os.sep + os.path.basename(path)
        if real.startswith(self._box):
            below = real[len(self._box) :]
            if self._source is None or not os.path.exists(os.path.join(self._source, below)):
                return below
            path = os.path.join(self._source, below)
        here = os.getcwd() + os.sep
        return os.path.relpath(path) if path.startswith(here) else path

    def command(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return a process's command line as the user knows it."""
        if _BODY in words:  # a function of a scenario's file, which the user knows as the program
            return (self.shown(words[words.index(_BODY) + 1]),)
        here = os.getcwd() + os.sep
        return tuple(
            word.replace(self._box, "").replace(self._box[:-1], "{box}").replace(here, "") for word in words
        )


@functools.cache
def _is_launcher(path: str) -> bool:
    """Return whether a file is a script that an installer put beside an interpreter to call a package."""
    directory, name = os.path.split(path)
    is_script = not name.endswith(".py") and os.path.basename(directory) in ("bin", "Scripts")
    return is_script and any(os.path.exists(os.path.join(directory, one)) for one in ("python3", "python"))


@functools.cache
def _distribution(site: str, top: str) -> str:
    """Return the name and version of the distribution that has a package or module of that name."""
    found = list(distributions(path=[site]))
    named = [one for one in found if _plain(one.name) == _plain(top)]
    for one in named or (other for other in found if _holds(other, top)):
        return f"{one.name} {one.version}"
    return top


def _holds(one: Distribution, top: str) -> bool:
    listed = one.read_text("RECORD") or ""
    return re.search(rf"^{re.escape(top)}(\.py|/)", listed, re.MULTILINE) is not None


def _plain(name: str | None) -> str:
    return re.sub(r"[-_.]+", "-", name or "").lower()
