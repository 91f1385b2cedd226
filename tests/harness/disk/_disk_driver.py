"""Performs programs of file operations for real, and compares each step with the model of the disk.

Two processes from one file. ``supervise BOX`` runs ``perform`` under the supervisor, takes programs as
lines of JSON on its standard input, and answers each with a line: null, or what differed. A program
is {"setup": [...], "ops": [...]}; `perform` runs it in a directory of its own and tells where it is
by calls of mkdir on a directory that exists. While each op is stopped, the files must be those
that the model predicts from the ops before it.
"""

import ctypes
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from outlive_harness.disk.model import Disk
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import scan
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch import reap
from outlive_harness.launch.options import Program, RunOptions
from outlive_harness.launch.run import run

MARK = "mark"
FDS = 4
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    """Call a function of libc; an error is an outcome like any other."""
    getattr(libc, name)(*(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args))


def pattern(length, seed):
    """Return bytes that differ from place to place and from op to op."""
    return bytes((seed * 31 + at * 7 + at // 251) % 255 + 1 for at in range(length))


class Performer:
    """Carries out one program; descriptors are numbered slots."""

    def __init__(self):
        self.fds = {}
        self.count = 0

    def do(self, name, *args):
        self.count += 1
        with suppress(OSError):
            getattr(self, name)(*args)

    def fd(self, slot):
        if slot not in self.fds:
            raise OSError
        return self.fds[slot]

    def end(self):
        for slot in list(self.fds):
            self.close(slot)
        os.umask(0o022)

    def close(self, slot):
        os.close(self.fd(slot))
        del self.fds[slot]

    def open(self, slot, path, flags, mode):
        if slot in self.fds:
            self.close(slot)
        self.fds[slot] = os.open(path, flags | os.O_NONBLOCK, mode)

    def write(self, slot, length):
        os.write(self.fd(slot), pattern(length, self.count))

    def writev(self, slot, length):
        data = pattern(length, self.count)
        os.writev(self.fd(slot), [data[: length // 3], b"", data[length // 3 :]])

    def pwrite(self, slot, offset, length):
        os.pwrite(self.fd(slot), pattern(length, self.count), offset)

    def pwritev2(self, slot, offset, length, flags):
        data = pattern(length, self.count)
        parts = (ctypes.c_void_p * 2)(ctypes.cast(data, ctypes.c_void_p), length)
        call("pwritev2", self.fd(slot), parts, 1, offset, flags)

    def lseek(self, slot, offset):
        os.lseek(self.fd(slot), offset, os.SEEK_SET)

    def ftruncate(self, slot, length):
        os.ftruncate(self.fd(slot), length)

    def truncate(self, path, length):
        os.truncate(path, length)

    def fallocate(self, slot, mode, offset, length):
        call("fallocate", self.fd(slot), mode, offset, length)

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def mknod(self, path, mode):
        os.mknod(path, mode)

    def rmdir(self, path):
        os.rmdir(path)

    def unlink(self, path):
        os.unlink(path)

    def rename(self, source, target, flags):
        call("renameat2", -100, source.encode(), -100, target.encode(), flags)

    def link(self, source, target, flags):
        call("linkat", -100, source.encode(), -100, target.encode(), flags)

    def link_fd(self, slot, target, how):
        if how:
            call("linkat", self.fd(slot), b"", -100, target.encode(), 0x1000)
        else:
            call("linkat", -100, b"/proc/self/fd/%d" % self.fd(slot), -100, target.encode(), 0x400)

    def symlink(self, text, path):
        os.symlink(text, path)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def fchmod(self, slot, mode):
        os.fchmod(self.fd(slot), mode)

    def chown(self, path, user):
        os.chown(path, user, -1)

    def umask(self, mask):
        os.umask(mask)

    def sendfile(self, out, source, offset, length):
        os.sendfile(self.fd(out), self.fd(source), offset if offset >= 0 else None, length)

    def copy_file_range(self, source, start, out, to, length):
        options = {} if start < 0 else {"offset_src": start}
        if to >= 0:
            options["offset_dst"] = to
        os.copy_file_range(self.fd(source), self.fd(out), length, **options)

    def clone(self, out, source):
        call("ioctl", self.fd(out), 0x40049409, self.fd(source))

    def setxattr(self, path, length, flags):
        os.setxattr(path, "user.k", b"v" * length, flags)

    def removexattr(self, path):
        os.removexattr(path, "user.k")

    def utime(self, path, seconds):
        os.utime(path, (seconds, seconds))

    def fsync(self, slot):
        os.fsync(self.fd(slot))


def perform(box, programs):
    """Read programs from a FIFO and carry them out."""
    with open(programs) as lines:
        for number, line in enumerate(lines):
            program = json.loads(line)
            os.chdir(box)
            os.mkdir(f"e{number}")
            os.chdir(f"e{number}")
            performer = Performer()
            for op in program["setup"]:
                performer.do(*op)
            performer.end()
            with suppress(OSError):
                os.mkdir(f"{box}/{MARK}")
            for op in program["ops"]:
                performer.do(*op)
            with suppress(OSError):
                os.mkdir(f"{box}/{MARK}")
            performer.end()


def difference(disk, box):
    """Say in what the model and the files differ; None if in nothing."""
    predicted, real = disk.tree(), scan(box)
    if predicted == real:
        return None
    return [
        f"{path}: predicted {predicted.get(path)}, is {real.get(path)}"
        for path in sorted(predicted.keys() | real.keys())
        if predicted.get(path) != real.get(path)
    ]


def supervise(box):
    """Run programs for the one who writes them to our standard input."""
    reap.adopt_orphans()
    fifo = box.parent / "programs"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR)
    (box / MARK).mkdir()
    disk, story = None, []

    def answer(value):
        print(json.dumps(value), flush=True)

    def take():
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        data = line.encode()
        while data:
            data = data[os.write(pipe, data[:60000]) :]

    def visit(op, _number):
        nonlocal disk
        if op.kind == "mkdir" and op.path == MARK:
            if disk is None:
                disk = Disk.load(box)
                return GO
            if not story or story[0] != "differs":
                answer(difference(disk, box) and [*story, *difference(disk, box)])
            for path in box.iterdir():
                if path.is_dir() and not path.is_symlink() and path.name != MARK:
                    remove_tree(path)
                elif path.name != MARK:
                    path.unlink()
            disk = None
            story.clear()
            take()
        elif disk is not None and not (story and story[0] == "differs"):
            wrong = difference(disk, box)
            if wrong:
                answer([*story, f"before {op.describe()}", *wrong])
                story[:] = ["differs"]
                return GO
            story.append(f"{op.describe()} {op.flags:#x} {op.detail}")
            try:
                disk.apply(op)
            except Exception as error:  # noqa: BLE001 - reported to the test
                answer([*story, repr(error)])
                story[:] = ["differs"]
        return GO

    take()
    me = [sys.executable, "-P", __file__]
    with suppress(EOFError):
        ended = run(
            Program(
                [*me, "perform", str(box), str(fifo)],
                cwd=box,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                box=box,
            ),
            RunOptions(timeout=3600, visit=visit, data=True),
        )
        answer([f"the performer ended: {ended}"])


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        supervise(Path(sys.argv[2]))
    else:
        perform(*sys.argv[2:])
