"""The zygote: an interpreter that has imported what a pipeline imports, and forks a process a trial.

It runs under the pipeline's own interpreter, by path, with the pipeline's environment, and so imports
next to nothing that the pipeline would not. Requests come over the socket whose number is its argument:
texts that eval() reads, with descriptors beside them.
"""

from __future__ import annotations

import sys

# This file's directory is no place that the pipeline imports from.
if not sys.flags.safe_path:
    del sys.path[0]

import _signal  # type: ignore[import-not-found]  # `signal` itself would be seen by the trials
import _socket
import ctypes  # newer versions of libffi keep a file open for it: the only thing that a trial can see of it
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

#: Bytes that say how long the text after them is.
_HEAD = 8
_PIECE = 1 << 20
_WORD = 4
#: prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_EINVAL, _SIGKILL, _SIGINT = 22, 9, 2
#: seccomp(2)
_SET_MODE_FILTER = 1

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
    # Only our own worker is at the other end.
    return eval(text, {"__builtins__": {}}), fds  # noqa: S307


def _exactly(channel: Socket, length: int) -> bytes:
    text = bytearray()
    while len(text) < length:
        part = channel.recv(min(length - len(text), _PIECE))
        if not part:  # nobody is left to serve
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
    """Return what an import should leave alone: threads, descriptors, working directory, children's ends."""
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
        except ImportError:  # the pipeline gets over it as well, or reads the file as something else
            pass
        except BaseException:  # noqa: BLE001 - the pipeline may know why it imports it all the same
            bad.append(name)
        if _state() != before:
            bad.append(name)
            break  # it cannot be undone: the next zygote leaves it out
    return bad


def _mistaken(places: Sequence[tuple[str, str]]) -> list[str]:
    """Return the modules that come from another directory here than the pipeline found them in."""
    bad = []
    for name, place in places:
        origin = getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None)
        if isinstance(origin, str) and os.path.isabs(origin):
            here = os.path.dirname(origin)
            if here != place and os.path.realpath(here) != os.path.realpath(place):
                bad.append(name)
    return bad


#: What the project's own files compile to, by path and text: the only part of an import that is the same
#: in each trial, and where no __pycache__ is, most of it.
_compiled: dict[tuple[str, bytes], Any] = {}


def _precompile(paths: Sequence[str]) -> None:
    """Compile what each trial would; a text that does not compile, or is warned of, is left to the trial."""
    if not paths or sys.warnoptions:
        return
    import warnings  # noqa: PLC0415 - not where there is nothing to compile

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


def _source_to_code(self: SourceFileLoader, data: Any, path: Any, **options: Any) -> Any:  # noqa: ANN401 - as it is
    """Return the code of a module that is to be imported: read anew, compiled before if it was this text."""
    known = _compiled.get((path, data)) if isinstance(data, bytes) and isinstance(path, str) else None
    return _to_code(self, data, path, **options) if known is None else known


# -- one trial ---------------------------------------------------------------------------------------


def _become(request: Request, fds: list[int], parent: int) -> None:
    """Turn the forked child into a process as exec would have made it, and stop its calls."""
    out, err, channel_fd = fds
    channel = _socket.socket(fileno=channel_fd)
    step = "start"
    try:
        os.setsid()
        _call(_libc.prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be noticed
            os._exit(127)
        os.chdir(request["cwd"])
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (out, 1), (err, 2)):
            os.dup2(fd, place)
            os.close(fd)
        listener: tuple[int, ...] = ()
        if request["filter"]:
            step = "intercept"
            _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            listener = (_install(request),)
    except OSError as error:
        _send(channel, f"{error.errno or 0} {step} {error.strerror or error}")
        os._exit(127)
    _send(channel, os.getpid(), listener)
    for fd in listener:
        os.close(fd)
    channel.close()


def _call(function: Callable[..., int], *values: Any) -> int:  # noqa: ANN401 - numbers and references
    result = function(*(ctypes.c_ulong(value) if isinstance(value, int) else value for value in values))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _install(request: Request) -> int:
    """Put this process under the filter; return the listener."""
    code, number = request["filter"], request["seccomp"]
    program = _Program(len(code) // 8, code)
    *newer, oldest = request["flags"]
    for flags in newer:
        try:
            return _call(_libc.syscall, number, _SET_MODE_FILTER, flags, ctypes.byref(program))
        except OSError as error:
            if error.errno != _EINVAL:
                raise
    return _call(_libc.syscall, number, _SET_MODE_FILTER, oldest, ctypes.byref(program))


def _program(request: Request) -> Callable[[], object]:
    """Return what runs the pipeline as python itself would."""
    kind, target = request["kind"], request["target"]
    main = type(sys)("__main__")
    main.__dict__.update(__builtins__=__builtins__, __loader__=None)
    if sys.version_info < (3, 14):
        main.__dict__.update(__annotations__={})
    sys.modules["__main__"] = main
    sys.argv[:] = request["argv"]
    sys.orig_argv[:] = request["orig_argv"]
    if kind == "module":
        import runpy  # noqa: PLC0415 - only where python itself would

        if not sys.flags.safe_path:
            sys.path.insert(0, os.getcwd())
        run_module: Callable[[str], object] = vars(runpy)["_run_module_as_main"]  # what python -m calls
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
    """Run the pipeline to the end of its main thread; return its status as sys.exit() takes it."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:  # random and tempfile see to themselves
        numpy.seed()
    try:
        _program(request)()
    except SystemExit as end:
        return end.code
    except BaseException as error:  # noqa: BLE001 - told as python tells it
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error.__traceback__ = trace
        sys.excepthook(type(error), error, trace)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return None


# -- the end of a trial ------------------------------------------------------------------------------

#: What stands for the status of a run that an interrupt ended.
_INTERRUPTED = object()


def _finalize(warm: frozenset[str]) -> None:
    """Do what the end of an interpreter does that can be seen from outside, in its order.

    All of it takes an interpreter apart that holds pandas in 90 ms, mostly to copy pages that it shares
    with the zygote. What was there before the trial began has nothing of the trial's own to let go of, so
    it is left as it is. What becomes of the rest: Py_FinalizeEx() in the reference of Python's C API.
    """
    before = frozenset(sys.modules)
    import _weakref  # noqa: PLC0415 - these three are part of every interpreter
    import atexit  # noqa: PLC0415
    import io  # noqa: PLC0415

    threading = sys.modules.get("threading")
    if threading is not None:
        _try(vars(threading)["_shutdown"])  # waits for threads that are no daemons
    vars(atexit)["_run_exitfuncs"]()
    sys.setswitchinterval(1e3)  # and daemons do not go on
    _flush()
    gc.collect()  # as python does; what is garbage now ends in another order than what becomes it below
    buffered = (io.TextIOBase, io.BufferedIOBase)
    names = [name for name in sys.modules if name in before and _is_own(name, warm)]
    named = [value for name in names for value in vars(sys.modules[name]).values()]
    # Names that a daemon's frame still needs outlive their module: Python leaves their files open.
    left = [_weakref.ref(value) for value in named if isinstance(value, buffered)]
    own = [_weakref.ref(sys.modules.pop(name)) for name in names]
    del named
    gc.collect()
    for reference in own:
        module = reference()
        if module is not None:
            vars(module).clear()
    gc.collect()
    # What a library still holds open is closed with the library; text first, then what is below it.
    open_still = {id(reference()) for reference in left}
    files = [
        thing for thing in gc.get_objects() if isinstance(thing, buffered) and id(thing) not in open_still
    ]
    for file in sorted(files, key=lambda thing: not isinstance(thing, io.TextIOBase)):
        _try(file.close)
    _flush()


def _is_own(name: str, warm: frozenset[str]) -> bool:
    """Tell whether a module came with the trial; what is no module is left to its owner."""
    return name not in warm and isinstance(sys.modules[name], type(sys))


def _flush() -> None:
    """Write out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _try(stream.flush)


def _try(action: Callable[[], object]) -> None:
    """Do something that may fail: nobody is left to tell."""
    try:  # noqa: SIM105 - contextlib is no module that the pipeline must have
        action()
    except BaseException:  # noqa: BLE001, S110 - see above
        pass


def _end(status: object, warm: frozenset[str]) -> None:
    """End this process, with the status that python gives it."""
    code = 0 if status is None else 1
    if isinstance(status, int):
        code = status
    elif status is not None and status is not _INTERRUPTED:
        _try(lambda: sys.stderr.write(f"{status}\n"))
    _finalize(warm)
    _libc.fflush(None)
    if status is _INTERRUPTED:
        import signal  # noqa: PLC0415 - not before the pipeline has

        signal.signal(_SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), _SIGINT)
    os._exit(code & 0xFF)


def _trial(request: Request, fds: list[int], control: Socket) -> None:
    """Fork; the child is the trial, and never returns from here."""
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
        elif "preload" in request:
            bad = _preload(request["preload"]) + _mistaken(request["places"])
            _precompile(request["compile"])
            _answer(control, bad)
            for name in request["forget"]:  # of use to imports alone
                os.environ.pop(name, None)
            # Not to be looked through again in each trial: that would copy the pages that they are on.
            gc.collect()
            gc.freeze()
        else:
            _trial(request, fds, control)


main()
