"""The zygote: an interpreter that has imported what a pipeline imports, and forks a process for each trial.

It runs by path under the pipeline's own interpreter, with the pipeline's environment, and so imports next to
nothing that the pipeline does not. Requests come over the socket whose number is its argument: texts for
eval(), with descriptors. The kernel's numbers come with them, since abi.py is out of reach.
"""

from __future__ import annotations

import sys

# The pipeline does not import from this file's directory.
if not sys.flags.safe_path:
    del sys.path[0]

import _signal  # type: ignore[import-not-found]  # trials would see the module `signal`
import _socket
import ctypes  # newer versions of libffi keep a file open: a trial can see only that
import gc
import os
from importlib import import_module
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Request = dict[str, Any]
    Socket = _socket.socket

#: Bytes of the length before each text.
_HEAD = 8
_PIECE = 1 << 20
_WORD = 4
_EINVAL = 22  # trials would see the module `errno`

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _receive(channel: Socket) -> tuple[Any, list[int]]:
    """Return the next request, None at the end, and its descriptors."""
    head, extra, _, _ = channel.recvmsg(_HEAD, _socket.CMSG_SPACE(8 * _WORD))
    if not head:
        return None, []
    head += _exactly(channel, _HEAD - len(head))
    text = _exactly(channel, int.from_bytes(head, sys.byteorder))
    fds = [
        int.from_bytes(data[at : at + _WORD], sys.byteorder)
        for level, kind, data in extra
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for at in range(0, len(data), _WORD)
    ]
    # Only this worker is at the other end.
    return eval(text, {"__builtins__": {}}), fds  # noqa: S307


def _exactly(channel: Socket, length: int) -> bytes:
    text = bytearray()
    while len(text) < length:
        part = channel.recv(min(length - len(text), _PIECE))
        if not part:  # the worker is gone
            os._exit(0)
        text += part
    return bytes(text)


def _answer(control: Socket, value: object) -> None:
    text = repr(value).encode(errors="surrogatepass")
    control.sendall(len(text).to_bytes(_HEAD, sys.byteorder) + text)


def _send(channel: Socket, value: object, fds: Sequence[int] = ()) -> None:
    words = b"".join(fd.to_bytes(_WORD, sys.byteorder) for fd in fds)
    extra = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, words)] if fds else []
    channel.sendmsg([repr(value).encode(errors="surrogatepass")], extra)


# -- preloading --------------------------------------------------------------------------------------


def _state() -> tuple[int, int, str, object]:
    """Return what an import must not change: threads, descriptors, working directory, SIGCHLD's handler."""
    ends = _signal.getsignal(_signal.SIGCHLD)
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), os.getcwd(), ends


def _preload(names: Sequence[str]) -> list[str]:
    """Import modules; return those that failed, or that started threads or opened files."""
    bad = []
    for name in names:
        if name in sys.modules:
            continue
        before = _state()
        try:
            import_module(name)
        except ImportError:  # the pipeline handles it too, or reads the file as something else
            pass
        except BaseException:  # noqa: BLE001 - the pipeline may expect it
            bad.append(name)
        if _state() != before:
            bad.append(name)
            break  # cannot be undone: the next zygote leaves the module out
    return bad


def _mistaken(places: Sequence[tuple[str, str]]) -> list[str]:
    """Return the modules that came from another directory than in the pipeline's run."""
    bad = []
    for name, place in places:
        origin = getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None)
        if isinstance(origin, str) and os.path.isabs(origin):
            here = os.path.dirname(origin)
            if here != place and os.path.realpath(here) != os.path.realpath(place):
                bad.append(name)
    return bad


#: The compiled code of the project's own files, by path and text: the only part of an import that is the same
#: in each trial, and most of it if there is no __pycache__.
_compiled: dict[tuple[str, bytes], Any] = {}


def _precompile(paths: Sequence[str]) -> None:
    """Compile what each trial would; a text with an error or a warning is left to the trial."""
    if not paths or sys.warnoptions:
        return
    import warnings  # noqa: PLC0415 - only if there is anything to compile

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in paths:
            try:
                with open(path, "rb") as file:
                    source = file.read()
                _compiled[path, source] = compile(source, path, "exec", dont_inherit=True)
            except (OSError, ValueError, SyntaxError, Warning, RecursionError, MemoryError):
                continue
    SourceFileLoader.source_to_code = _source_to_code  # type: ignore[assignment, method-assign]


_to_code = SourceFileLoader.source_to_code


def _source_to_code(self: SourceFileLoader, data: Any, path: Any, **options: Any) -> Any:  # noqa: ANN401 - as in importlib
    """Return the code of a module whose text was just read: the precompiled code, if the text is the same."""
    known = _compiled.get((path, data)) if isinstance(data, bytes) and isinstance(path, str) else None
    return _to_code(self, data, path, **options) if known is None else known


# -- one trial ---------------------------------------------------------------------------------------


def _become(request: Request, fds: list[int], parent: int) -> None:
    """Turn the forked child into a process as exec would have made it, and intercept its calls."""
    out, err, channel_fd = fds
    channel = _socket.socket(fileno=channel_fd)
    step = "start"
    try:
        os.setsid()
        _call(_libc.prctl, request["death_signal"], _signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(127)
        os.chdir(request["cwd"])
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (out, 1), (err, 2)):
            os.dup2(fd, place)
            os.close(fd)
        listener: tuple[int, ...] = ()
        if request["filter"]:
            step = "intercept"
            _call(_libc.prctl, request["no_new_privs"], 1, 0, 0, 0)
            listener = (_install(request),)
    except OSError as error:
        _send(channel, f"{error.errno or 0} {step} {error.strerror or error}")
        os._exit(127)
    _send(channel, os.getpid(), listener)
    for fd in listener:
        os.close(fd)
    channel.close()


def _call(function: Callable[..., int], *values: Any) -> int:  # noqa: ANN401 - integers and references
    result = function(*(ctypes.c_ulong(value) if isinstance(value, int) else value for value in values))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _install(request: Request) -> int:
    """Put this process under the filter; return the listener."""
    code, (number, set_filter) = request["filter"], request["seccomp"]
    program = _Program(len(code) // 8, code)
    *newer, oldest = request["flags"]
    for flags in newer:
        try:
            return _call(_libc.syscall, number, set_filter, flags, ctypes.byref(program))
        except OSError as error:
            if error.errno != _EINVAL:
                raise
    return _call(_libc.syscall, number, set_filter, oldest, ctypes.byref(program))


def _program(request: Request) -> Callable[[], object]:
    """Return a function that runs the pipeline as python itself would."""
    kind, target = request["kind"], request["target"]
    main = type(sys)("__main__")
    main.__dict__.update(__builtins__=__builtins__, __loader__=None)
    if sys.version_info < (3, 14):
        main.__dict__.update(__annotations__={})
    sys.modules["__main__"] = main
    sys.argv[:] = request["argv"]
    sys.orig_argv[:] = request["orig_argv"]
    if kind == "module":
        import runpy  # noqa: PLC0415 - only if python itself would

        if not sys.flags.safe_path:
            sys.path.insert(0, os.getcwd())
        run_module: Callable[[str], object] = vars(runpy)["_run_module_as_main"]  # called by python -m
        return lambda: run_module(target)
    if kind == "code":
        if not sys.flags.safe_path:
            sys.path.insert(0, "")
        code = compile(target, "<string>", "exec", dont_inherit=True)
        return lambda: exec(code, main.__dict__)  # noqa: S102 - python -c
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(target)))
    target = target if os.path.isabs(target) else os.path.join(os.getcwd(), target)  # as since Python 3.9
    main.__dict__.update(__file__=target, __cached__=None, __loader__=SourceFileLoader("__main__", target))

    def run() -> None:
        with open(target, "rb") as file:
            source = file.read()
        code = _compiled.get((target, source)) or compile(source, target, "exec", dont_inherit=True)
        exec(code, main.__dict__)  # noqa: S102 - python FILE

    return run


def _run(request: Request) -> object:
    """Run the pipeline to the end of its main thread; return its status as for sys.exit()."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:  # random and tempfile reseed after a fork
        numpy.seed()
    try:
        _program(request)()
    except SystemExit as end:
        return end.code
    except BaseException as error:  # noqa: BLE001 - reported as python does
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error.__traceback__ = trace
        sys.excepthook(type(error), error, trace)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return None


# -- the end of a trial ------------------------------------------------------------------------------

#: The status of a run that an interrupt ended.
_INTERRUPTED = object()


def _finalize(warm: frozenset[str]) -> None:
    """Do what is visible from outside of the end of an interpreter, in its order.

    A complete finalization takes 90 ms with pandas, mostly to copy pages that are shared with the zygote.
    Objects from before the trial hold nothing of the trial's own, so they are left alone. Source for the
    others: Py_FinalizeEx() in the reference of Python's C API.
    """
    before = frozenset(sys.modules)
    import _weakref  # noqa: PLC0415 - these three are built in
    import atexit  # noqa: PLC0415
    import io  # noqa: PLC0415

    threading = sys.modules.get("threading")
    if threading is not None:
        _try(vars(threading)["_shutdown"])  # waits for non-daemon threads
    vars(atexit)["_run_exitfuncs"]()
    sys.setswitchinterval(1e3)  # stops daemon threads
    _flush()
    gc.collect()  # as python does: this garbage is finalized before the modules'
    buffered = (io.TextIOBase, io.BufferedIOBase)
    names = [name for name in sys.modules if name in before and _is_own(name, warm)]
    named = [value for name in names for value in vars(sys.modules[name]).values()]
    # Values that a daemon's frame still needs outlive their module: Python leaves their files open.
    left = [_weakref.ref(value) for value in named if isinstance(value, buffered)]
    own = [_weakref.ref(sys.modules.pop(name)) for name in names]
    del named
    gc.collect()
    for reference in own:
        module = reference()
        if module is not None:
            vars(module).clear()
    gc.collect()
    # Files that a library still holds open are closed with it: text files before their buffers.
    open_still = {id(reference()) for reference in left}
    files = [
        thing for thing in gc.get_objects() if isinstance(thing, buffered) and id(thing) not in open_still
    ]
    for file in sorted(files, key=lambda thing: not isinstance(thing, io.TextIOBase)):
        _try(file.close)
    _flush()


def _is_own(name: str, warm: frozenset[str]) -> bool:
    """Return whether a module was imported by the trial."""
    return name not in warm and isinstance(sys.modules[name], type(sys))


def _flush() -> None:
    """Flush the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _try(stream.flush)


def _try(action: Callable[[], object]) -> None:
    """Do something that may fail, silently: the trial is over."""
    try:  # noqa: SIM105 - the pipeline may not have contextlib
        action()
    except BaseException:  # noqa: BLE001, S110 - see above
        pass


def _end(status: object, warm: frozenset[str]) -> None:
    """End this process with the status that python would give it."""
    code = 0 if status is None else 1
    if isinstance(status, int):
        code = status
    elif status is not None and status is not _INTERRUPTED:
        _try(lambda: sys.stderr.write(f"{status}\n"))
    _finalize(warm)
    _libc.fflush(None)
    if status is _INTERRUPTED:
        import signal  # noqa: PLC0415 - the pipeline is over

        signal.signal(_signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
    os._exit(code & 0xFF)


def _trial(request: Request, fds: list[int], control: Socket) -> None:
    """Fork; the child runs the trial, and never returns."""
    parent = os.getpid()
    if os.fork():
        for fd in fds:
            os.close(fd)
        return
    control.close()
    _become(request, fds, parent)
    warm = frozenset(sys.modules) - {"__main__"}
    _end(_run(request), warm)


def main() -> None:
    """Answer requests until the other end is closed."""
    control = _socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)  # noqa: FBT003 - positional only
    while True:
        request, fds = _receive(control)
        if request is None:
            os._exit(0)
        if "reap" in request:
            _answer(control, os.waitpid(request["reap"], 0)[1])
        elif "reply" in request:
            _answer(control, value=True)
        elif "preload" in request:
            bad = _preload(request["preload"]) + _mistaken(request["places"])
            _precompile(request["compile"])
            _answer(control, bad)
            for name in request["forget"]:  # only for the imports
                os.environ.pop(name, None)
            # Keeps the trials' collections away from these objects: visiting them would copy their pages.
            gc.collect()
            gc.freeze()
        else:
            _trial(request, fds, control)


main()
