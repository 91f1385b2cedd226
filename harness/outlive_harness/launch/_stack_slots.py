"""Shared memory in which the threads of a program record their stacks: a slot each, by thread id.

The pipeline's own interpreter, of any version, runs this module too, so it imports next to nothing and uses
no new syntax. The work for each line is kept short, since it slows each line of the program.
"""

from __future__ import annotations

import sys
import time
from _thread import get_ident, get_native_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from types import CodeType, FrameType
    from typing import Any


#: A slot is words, the first few of which are named below, and then text: for each frame the file, a NUL, the
#: function and a newline, the outermost frame first, so that the innermost can come and go.
SLOT, SLOTS = 1 << 14, 1 << 10
_WORD = 4
#: The thread of the slot; the number of frames; the bytes of their text; whether the code has ended; whether
#: the whole slot is being rewritten.
_OWNER, _COUNT, _LENGTH, _OVER, _BUSY = range(5)
#: The word from which on the line numbers of the frames follow.
_LINES = 5
#: The most frames in a slot, the innermost ones; and where their text begins.
_DEEPEST = 123
_TEXT = (_LINES + _DEEPEST) * _WORD
#: The most bytes of one frame's text.
_LONGEST = 1 << 10
#: Attempts to read a slot that changes meanwhile, and seconds between two.
_LOOKS, _PAUSE = 50, 0.002


def read(memory: mmap | bytes | bytearray, tid: int) -> bytes:
    """Return a thread's stack: a line ``FILE:LINE FUNCTION`` for each frame, the innermost first; or b""."""
    at = tid % SLOTS * SLOT
    for _ in range(_LOOKS):  # the thread may be running
        slot = bytes(memory[at : at + SLOT])
        words = memoryview(slot).cast("I")
        if words[_OWNER] != tid:
            return b""
        if not words[_BUSY] and memory[at : at + SLOT] == slot:
            break
        time.sleep(_PAUSE)
    names = slot[_TEXT : _TEXT + words[_LENGTH]].split(b"\n")
    lines = words[_LINES : _LINES + words[_COUNT]].tolist()
    told = ((*name.partition(b"\0"), line) for name, line in zip(names, lines, strict=False))
    return b"\n".join([b"%b:%d %b" % (file, line, function) for file, _, function, line in told][::-1])


def is_over(memory: mmap | bytes | bytearray, tid: int) -> bool:
    """Return whether the code of a program's main thread has ended, and the interpreter is finalizing."""
    words = memoryview(memory)[tid % SLOTS * SLOT :][: _LINES * _WORD].cast("I")
    return words[_OWNER] == tid and words[_OVER] == 1


def watch(path: str) -> None:
    """Make this process, and all that it forks, record its stacks in an existing file from now on.

    Frames of the standard library are left out: their caller's line stands for them.
    """
    import mmap  # noqa: PLC0415 - only here
    import os  # noqa: PLC0415

    with open(path, "r+b") as file:
        memory = memoryview(mmap.mmap(file.fileno(), SLOT * SLOTS))
    library = os.path.dirname(os.__file__)
    libraries = tuple({f"{place}{os.sep}" for place in (library, os.path.realpath(library))})
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep
    threads: dict[int, _Thread] = {}

    def name(code: CodeType) -> bytes:
        file = code.co_filename
        if file.startswith(ours) or _is_folded(file, libraries):
            return b""
        told = f"{file}\0{getattr(code, 'co_qualname', code.co_name)}"
        line = told.replace("\n", "\\n")  # a frame is a line
        return line.encode(errors="surrogateescape")[: _LONGEST - 1] + b"\n"

    names = _Names(name)

    def here() -> _Thread:
        ident = get_ident()
        found = threads.get(ident)
        if found is None:
            is_main = get_native_id() == os.getpid()
            found = threads[ident] = _Thread(memory, names, None if is_main else lambda: threads.pop(ident))
        return found

    def forked() -> None:
        """Leave the slot to the parent: only this thread goes on in the child."""
        found = threads.pop(get_ident(), None)
        threads.clear()
        if found is not None:
            threads[get_ident()] = found
            found.move()

    os.register_at_fork(after_in_child=forked)
    if sys.version_info >= (3, 12):
        _monitor(names, here)
    else:
        _trace(names, here)


def _is_folded(file: str, libraries: tuple[str, ...]) -> bool:
    """Return whether a file belongs to the standard library, or is frozen into the interpreter."""
    if file.startswith(libraries):
        return "-packages" not in file
    return file.startswith("<frozen ")


class _Names(dict):  # type: ignore[type-arg]
    """The text of each code's frames, by its id; b"" for a code that is left out."""

    def __init__(self, name: Callable[[CodeType], bytes]) -> None:
        self._name = name
        self._codes: list[CodeType] = []  # kept, so that no id is reused

    def of(self, code: CodeType) -> bytes:
        """Return the text of a code's frames."""
        known = self.get(id(code))
        if known is None:
            known = self[id(code)] = self._name(code)
            self._codes.append(code)
        return known


class _Thread:
    """Writes one thread's slot; *over* is called when its code has ended, and None for the main thread."""

    __slots__ = ("_frames", "_memory", "_names", "_over", "_place", "_text", "_top", "_words")

    def __init__(self, memory: memoryview, names: _Names, over: Callable[[], object] | None) -> None:
        self._memory, self._names, self._over = memory, names, over
        #: each frame's id (a reference would keep its variables alive), and the end of its text
        self._frames: list[tuple[int, int]] = []
        self._top = self._place = 0  # the id of the innermost frame, and the word of its line
        self._text = self._words = memory
        self.move()

    def move(self) -> None:
        """Start, or go on after a fork, in the current thread's slot."""
        tid = get_native_id()
        at = tid % SLOTS * SLOT
        before = bytes(self._text) if self._frames else bytes(SLOT)
        self._text = self._memory[at : at + SLOT]
        self._text[:] = before
        self._words = self._text.cast("I")
        self._words[_OWNER] = tid

    def step(self, frame: FrameType, event: str, _value: object) -> None:
        """Handle an event of sys.settrace()."""
        if event == "line":
            if id(frame) == self._top:
                self._words[self._place] = frame.f_lineno
            else:
                self.comes(frame, frame.f_lineno)
        elif event == "return":
            self.leaves(frame)

    def comes(self, frame: FrameType, line: int) -> None:
        """Record the line that a frame comes to."""
        if id(frame) == self._top:
            self._words[self._place] = line
            return
        back = self._told(frame.f_back)
        if back is None or id(back) != self._top or not self._push(frame, line):
            self._rebuild(frame)
        self._point(frame)

    def leaves(self, frame: FrameType) -> None:
        """Record the end of a frame, or its pause."""
        frames, words = self._frames, self._words
        if id(frame) == self._top and len(frames) > 1:
            frames.pop()
            self._top, words[_LENGTH] = frames[-1]
            words[_COUNT] = len(frames)
            self._place -= 1
            return
        back = self._told(frame.f_back)
        if back is not None:
            self._rebuild(back)
            self._point(back)
            return
        self._top = 0
        if self._over is None:
            words[_OVER] = 1  # the last line is kept
        else:
            words[_COUNT] = words[_LENGTH] = 0
            self._over()

    def _point(self, frame: FrameType) -> None:
        self._top, self._place = id(frame), _LINES - 1 + len(self._frames)

    def _told(self, frame: FrameType | None) -> FrameType | None:
        """Return the first of a frame and its callers that is not left out."""
        while frame is not None and not self._names.of(frame.f_code):
            frame = frame.f_back
        return frame

    def _push(self, frame: FrameType, line: int) -> bool:
        """Add a frame; return whether there was room for it."""
        frames, words = self._frames, self._words
        told, start = self._names.of(frame.f_code), words[_LENGTH]
        end = start + len(told)
        if len(frames) == _DEEPEST or _TEXT + end > SLOT:
            return False
        self._text[_TEXT + start : _TEXT + end] = told
        words[_LINES + len(frames)] = line
        frames.append((id(frame), end))
        words[_LENGTH], words[_COUNT] = end, len(frames)
        return True

    def _rebuild(self, frame: FrameType) -> None:
        """Rewrite all frames: the stack is not the recorded one."""
        several, room = [frame], SLOT - _TEXT - len(self._names.of(frame.f_code))
        back = self._told(frame.f_back)
        while back is not None and len(several) < _DEEPEST:
            room -= len(self._names.of(back.f_code))
            if room < 0:
                break
            several.append(back)
            back = self._told(back.f_back)
        self._frames.clear()
        words = self._words
        words[_BUSY] = 1
        words[_COUNT] = words[_LENGTH] = words[_OVER] = 0
        for one in reversed(several):
            self._push(one, one.f_lineno or 0)
        words[_BUSY] = 0


def _trace(names: _Names, here: Callable[[], _Thread]) -> None:
    """Follow each line by sys.settrace()."""
    import threading  # noqa: PLC0415 - only here

    def called(frame: FrameType, _event: str, _value: object) -> Callable[..., Any] | None:
        if not names.of(frame.f_code):
            return None
        thread = here()
        thread.comes(frame, frame.f_lineno)  # a generator resumes within a line
        return thread.step

    threading.settrace(called)
    sys.settrace(called)


def _monitor(names: _Names, here: Callable[[], _Thread]) -> None:
    """Follow each line by sys.monitoring (PEP 669), which leaves sys.settrace() to the program."""
    monitoring: Any = vars(sys)["monitoring"]
    events, disable = monitoring.events, monitoring.DISABLE
    # First the ids that are reserved for no kind of tool.
    tool = next(number for number in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "outlive")
    frame_of = vars(sys)["_getframe"]

    def line(code: CodeType, number: int) -> Any:  # noqa: ANN401 - DISABLE or None
        if not names.of(code):
            return disable
        here().comes(frame_of(1), number)
        return None

    def began(code: CodeType, _offset: int) -> Any:  # noqa: ANN401 - as above
        if not names.of(code):
            return disable
        frame = frame_of(1)
        here().comes(frame, frame.f_lineno)  # 3.13 has no line event in a function of one line
        return None

    def left(code: CodeType, _offset: int, _value: object) -> Any:  # noqa: ANN401 - as above
        if not names.of(code):
            return disable
        here().leaves(frame_of(1))
        return None

    def unwound(code: CodeType, _offset: int, _value: object) -> None:  # this event cannot be disabled
        if names.of(code):
            here().leaves(frame_of(1))

    taken = {
        events.LINE: line, events.PY_START: began, events.PY_RESUME: began, events.PY_RETURN: left,
        events.PY_YIELD: left, events.PY_UNWIND: unwound,
    }  # fmt: skip
    for event, function in taken.items():
        monitoring.register_callback(tool, event, function)
    monitoring.set_events(tool, sum(taken))
