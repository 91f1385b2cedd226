"""Memory in which the threads of a program leave their stacks: a slot each, by the number of the thread.

The pipeline's own interpreter runs this too, so it imports next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap
    from types import FrameType

SLOT, SLOTS = 4096, 256
_WORD = 4
_DEEPEST = 40


def read(memory: mmap, tid: int) -> bytes:
    """Return the stack that a thread left last: a line for each frame, the innermost first; b"" if none."""
    at = tid % SLOTS * SLOT
    owner, length = (
        int.from_bytes(memory[start : start + _WORD], sys.byteorder) for start in (at, at + _WORD)
    )
    return memory[at + 2 * _WORD : at + 2 * _WORD + length] if owner == tid else b""


def watch(path: str) -> None:
    """Have this process, and what it forks, leave its stacks in a file that is there, from now on."""
    import mmap  # noqa: PLC0415 - here alone
    import threading  # noqa: PLC0415

    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), SLOT * SLOTS)

    def hook(frame: FrameType, event: str, _what: object) -> None:
        if event != "c_call":
            return
        tid = threading.get_native_id()
        lines: list[str] = []
        one: FrameType | None = frame
        while one is not None and len(lines) < _DEEPEST:
            file = one.f_code.co_filename.replace("\n", "\\n")  # a frame is a line
            lines.append(f"{file}:{one.f_lineno} {one.f_code.co_qualname}")
            one = one.f_back
        text = "\n".join(lines).encode(errors="surrogateescape")[: SLOT - 2 * _WORD]
        at = tid % SLOTS * SLOT
        head = tid.to_bytes(_WORD, sys.byteorder) + len(text).to_bytes(_WORD, sys.byteorder)
        memory[at : at + 2 * _WORD + len(text)] = head + text

    threading.setprofile(hook)
    sys.setprofile(hook)
