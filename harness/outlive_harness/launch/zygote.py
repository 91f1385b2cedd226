"""A run that is forked from a warm interpreter, the zygote: see _zygote.py for its other half.

The zygote has imported the modules of the standard library and of installed packages that the pipeline
imports, but never the project's own. A trial is still a fresh process, with its own memory, descriptors,
working directory and filter; it reads and runs the pipeline's own code itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from outlive_harness import abi
from outlive_harness.intercept.filter import FLAGS, program
from outlive_harness.intercept.vdso import UnknownVdsoError, lend

from .exec import Child, refusal, reset_signals

_HERE = Path(__file__).with_name("_zygote.py")
_HARNESS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Bytes of the length before each text: a list of modules may have any length.
_HEAD = 8
_PIECE = 1 << 20
#: Seconds that the imports may take.
_PATIENCE = 60.0
#: Milliseconds between two looks at what keeps a killed trial from ending, and the number of looks.
_MOMENT, _LOOKS = 50, 200
#: Options of the interpreter that work for a zygote, too.
_PLAIN = frozenset("bBEIOPqsSu")
_VALUED = ("-W", "-X")


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed Python command line.

    Attributes:
        start: the interpreter and its options.
        kind: ``file``, ``module`` or ``code``.
        target: the file, module or code.
        argv: the program's sys.argv.
    """

    start: tuple[str, ...]
    kind: str
    target: str
    argv: tuple[str, ...]


def parse(argv: Sequence[str], path: str | None = None) -> Script | None:
    """Parse a Python command line; None if it is not one, or a zygote cannot replace it.

    *path* is the PATH to search for the program; None for that of this process.
    """
    if not _is_interpreter(argv[0], path):
        return None
    at = 1
    while at < len(argv):
        word = argv[at]
        if word in ("-m", "-c") and at + 1 < len(argv):
            kind = "module" if word == "-m" else "code"
            return Script(tuple(argv[:at]), kind, argv[at + 1], (word, *argv[at + 2 :]))
        if word in _VALUED:
            at += 2
        elif word.startswith("-") and len(word) > 1 and set(word[1:]) <= _PLAIN:
            at += 1
        elif word.startswith("-") or os.path.isdir(word) or not word.endswith(".py"):
            return None
        else:
            return Script(tuple(argv[:at]), "file", word, tuple(argv[at:]))
    return None


def _is_interpreter(program: str, path: str | None) -> bool:
    """Return whether a program is a Python interpreter, and not a script of that name."""
    found = shutil.which(program, path=path)
    if found is None or not _PYTHON.fullmatch(os.path.basename(program)):
        return False
    if os.path.basename(os.path.dirname(found)) == "shims":  # pyenv's, for example: it only chooses one
        return True
    try:
        with open(found, "rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:  # executable, but not readable
        return False


@dataclass(frozen=True, slots=True)
class Preload:
    """What a zygote does once before its trials, which each of them would do.

    Attributes:
        modules: modules to import: of the standard library and of installed packages.
        places: modules of the run by name, each with the directory that it was found in.
        sources: the project's own files to compile, which each trial reads and runs itself.
    """

    modules: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    sources: tuple[str, ...] = ()


#: These keep widespread libraries from starting threads when they are imported, since threads do not survive
#: a fork. If results depend on the number of threads, the first trial shows it.
_QUIET = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class ZygoteError(RuntimeError):
    """A zygote that cannot serve; the message says why."""


class Zygote:
    """A warm interpreter for one pipeline.

    Args:
        argv: the pipeline's command line.
        cwd: its working directory.
        env: its whole environment.
        preload: what to do before the first trial.
        instant: where the wall clock stands, from the first import on, in nanoseconds since 1970; None if it
            runs.

    Attributes:
        bad: modules that it must not import: they failed, or started threads or opened files.

    Raises:
        ZygoteError: it is not a Python command, or cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        preload: Preload,
        instant: int | None = None,
    ) -> None:
        script = parse(argv, env.get("PATH"))
        table = abi.native()
        if script is None or table is None:
            raise ZygoteError("it is not a Python script")
        self._script, self._argv, self._table = script, list(argv), table
        freezes = instant is not None
        self._filter = program(table, freezes=freezes)
        self._filter_of_clock = program(table, files=False, freezes=True) if freezes else b""
        ours, theirs = socket.socketpair()
        self._control = ours
        ours.settimeout(_PATIENCE)
        with theirs:
            fd = theirs.fileno()
            try:
                self._process = subprocess.Popen(
                    [*script.start, str(_HERE), str(fd)],
                    cwd=cwd,
                    env=_QUIET | dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,  # pipes, as a trial's: the buffering of streams depends on it
                    stderr=subprocess.PIPE,
                    pass_fds=[fd],
                    start_new_session=True,
                    preexec_fn=reset_signals,  # noqa: PLW1509 - a worker has one thread
                )
            except (OSError, subprocess.SubprocessError) as error:
                ours.close()
                raise ZygoteError(f"it cannot be started: {error}") from error
        try:
            if instant is not None:
                self._lend(instant)
            request = {
                "preload": preload.modules,
                "places": preload.places,
                "compile": preload.sources,
                "forget": list(_QUIET.keys() - env.keys()),
            }
            self.bad = tuple(self._ask(request))
        except BaseException:
            self.close()
            raise

    def _lend(self, instant: int) -> None:
        """Lend the clock to the zygote while it waits for a request; its forks inherit it."""
        self._ask({"reply": True})
        try:
            lend(self.pid, instant)
        except (OSError, UnknownVdsoError) as error:
            why = getattr(error, "strerror", "") or error
            raise ZygoteError(f"the clock cannot be lent to it: {why}") from error

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    def _ask(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - depends on the request
        self._say(request)
        return self._answer()

    def _say(self, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        text = repr(request).encode(errors="surrogatepass")
        whole = len(text).to_bytes(_HEAD, sys.byteorder) + text
        try:
            sent = socket.send_fds(self._control, [whole], fds) if fds else 0
            self._control.sendall(memoryview(whole)[sent:])
        except OSError as error:
            raise ZygoteError(f"it is gone: {error.strerror or error}") from error

    def _answer(self) -> Any:  # noqa: ANN401 - as above
        return _read(self._exactly(int.from_bytes(self._exactly(_HEAD), sys.byteorder)))

    def _exactly(self, length: int) -> bytes:
        text = bytearray()
        while len(text) < length:
            try:
                part = self._control.recv(min(length - len(text), _PIECE))
            except OSError as error:
                raise ZygoteError(f"it does not answer: {error.strerror or error}") from error
            if not part:
                raise ZygoteError("it ended during its imports, or a trial ended it")
            text += part
        return bytes(text)

    def start(self, *, cwd: Path, intercept: bool = True) -> Child:
        """Start a trial, as exec.start() does, with the same errors.

        Args:
            cwd: its working directory.
            intercept: whether its ops are stopped.
        """
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {
            "cwd": str(cwd),
            "kind": self._script.kind,
            "target": self._script.target,
            "argv": self._script.argv,
            "orig_argv": self._argv,
            "filter": self._filter if intercept else self._filter_of_clock,
            "flags": FLAGS,
            "seccomp": (self._table.numbers["seccomp"], abi.SECCOMP_SET_MODE_FILTER),
            "death_signal": abi.PR_SET_PDEATHSIG,
            "no_new_privs": abi.PR_SET_NO_NEW_PRIVS,
        }
        listener: int | None = None
        try:
            try:
                self._say(request, [out_write, err_write, theirs.fileno()])
            finally:
                for fd in (out_write, err_write):
                    os.close(fd)
                theirs.close()
            with ours:
                try:
                    text, received, _, _ = socket.recv_fds(ours, 4096, 1)
                except OSError as error:
                    raise ZygoteError(f"it is gone: {error.strerror or error}") from error
            listener = received[0] if received else None
            pid = self._pid(text, cwd)
        except BaseException:
            Child(0, listener, out_read, err_read).close()
            ours.close()
            raise
        for fd in (out_read, err_read):
            os.set_blocking(fd, False)
        return Child(pid, listener, out_read, err_read, partial(self._reap, pid))

    def _reap(self, pid: int, meanwhile: Callable[[], None]) -> int | None:
        """Return the wait status of a trial, the zygote's child; None if the zygote is gone.

        A process that traces the trial can keep it from being reaped: *meanwhile* ends such processes.
        """
        poller = select.poll()
        try:
            poller.register(self._control, select.POLLIN)
            self._say({"reap": pid})
            for _ in range(_LOOKS):
                if poller.poll(_MOMENT):
                    return int(self._answer())
                meanwhile()
        except (ZygoteError, OSError, ValueError):  # ValueError: it was closed
            pass
        self.close()  # or a late answer would be taken for the next one
        return None  # the trial is now our child

    def _pid(self, text: bytes, cwd: Path) -> int:
        """Return the process id that a trial reports before it begins."""
        if not text:
            raise ZygoteError("it is gone")
        said = _read(text)
        if isinstance(said, str):
            raise refusal(said, self._argv[0], cwd)
        return int(said)

    def close(self) -> None:
        """End the zygote."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def _read(text: bytes) -> Any:  # noqa: ANN401 - depends on the request
    try:
        return eval(text, {"__builtins__": {}})  # noqa: S307 - only our own zygote writes there
    except Exception as error:  # the program wrote to the channel
        raise ZygoteError(f"its answer cannot be read: {error}") from error


def installed_modules(argv: Sequence[str], paths: Iterable[str]) -> dict[str, str]:
    """Return the modules of the standard library and of installed packages among the files that a run read.

    Each comes with the directory that it was found in, since another may hold a module of the same name. They
    are in the order of the files: a package comes before the modules that it imports. The package that the
    command line names is left out, and so are packages installed from a directory or a file: they are the
    project's own, and run in each trial.
    """
    script = parse(argv)
    main = script.target.partition(".")[0] if script and script.kind == "module" else ""
    names: dict[str, str] = {}
    for path in paths:
        place, _, file = path.rpartition("/")
        stem, dot, rest = file.partition(".")
        installed = _INSTALLED.search(place + "/")
        if not dot or not rest.endswith(("py", "pyc", "so")) or installed is None:
            continue
        directory = place.removesuffix("/__pycache__")
        parts = directory[installed.end() :].strip("/")
        name = ".".join(filter(None, [*parts.split("/"), "" if stem == "__init__" else stem]))
        top = name.partition(".")[0]
        if top == main or top in own_packages(place[: installed.end()]):
            continue
        if all(part.isidentifier() for part in name.split(".")):
            names.setdefault(name, directory)
    return names


@functools.cache
def own_packages(site: str) -> frozenset[str]:
    """Return the packages of a directory that were not installed from an index (PEP 610)."""
    names: set[str] = set()
    for told in Path(site).glob("*.dist-info/direct_url.json"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            listed = told.with_name("RECORD").read_text("utf-8").splitlines()
            names.update(re.split(r"[/.,]", line, maxsplit=1)[0] for line in listed)
    return frozenset(names - {"", "__pycache__", "outlive", "outlive_harness"})


def is_installed(path: str) -> bool:
    """Return whether a file belongs to the standard library, an installed package or this harness."""
    return _INSTALLED.match(path) is not None


def own_sources(argv: Sequence[str], paths: Iterable[str]) -> list[str]:
    """Return the project's own Python files among those that a run read, and its script.

    A file that was read as text is compiled by each import; with usable bytecode it would not have been read.
    """
    script = parse(argv)
    main = [script.target] if script is not None and script.kind == "file" else []
    read = [path for path in paths if path.endswith(".py") and not is_installed(path)]
    return list(dict.fromkeys(main + read))  # the run reads its script too


_PYTHON = re.compile(r"python(\d+(\.\d+)?t?)?")
_ELF = b"\x7fELF"
#: Directories of modules that are not the project's own.
_INSTALLED = re.compile(
    r".*/(site|dist)-packages/|.*/lib(64)?/python3\.[0-9]+t?/(lib-dynload/)?|" + re.escape(_HARNESS) + "/"
)
