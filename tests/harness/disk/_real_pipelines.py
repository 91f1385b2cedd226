"""Runs small pipelines on a real file system, writes back at random, and asks the model about each state.

``python _real_pipelines.py KIND PLACE`` prints a JSON object for each run. It is a process of its own, for
it mounts, and reaps all its children.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from outlive_harness.disk.model import Disk
from outlive_harness.disk.power import PowerModel
from outlive_harness.disk.realfs import RealFs, mounted
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import Program, RunOptions
from outlive_harness.launch.reap import adopt_orphans
from outlive_harness.launch.run import run

#: Generated pipelines, beside those of the table; some that showed what was not modelled once.
GENERATED = (*range(8), 1007, 1029, 1075, 1117)

#: What the pipelines are written in.
PREAMBLE = """
import ctypes, mmap, os
from contextlib import suppress
libc = ctypes.CDLL(None, use_errno=True)

def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def data_sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fdatasync(fd)
    os.close(fd)

def write(path, data, *, at=None, flags=os.O_TRUNC, file=False):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    os.write(fd, data) if at is None else os.pwrite(fd, data, at)
    if file: os.fsync(fd)
    os.close(fd)

def append(path, data, *, file=False):
    write(path, data, flags=os.O_APPEND, file=file)

def patch(path, data, at, *, file=False, flags=0):
    write(path, data, at=at, flags=flags, file=file)

def push(path, how=2):
    fd = os.open(path, os.O_RDONLY)
    libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), how)
    os.close(fd)

def exchange(one, two):
    if libc.renameat2(-100, one.encode(), -100, two.encode(), 2):
        raise OSError(ctypes.get_errno(), "renameat2")

def allocate(path, how, at, size):
    fd = os.open(path, os.O_RDWR)
    failed = libc.fallocate(fd, how, ctypes.c_long(at), ctypes.c_long(size))
    os.close(fd)
    if failed: raise OSError(ctypes.get_errno(), "fallocate")

def unnamed(directory, name, data, file=False):
    fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o644)
    os.write(fd, data)
    if file: os.fsync(fd)
    if libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, name.encode(), 0x400):
        raise OSError(ctypes.get_errno(), 'linkat')
    os.close(fd)

def directly(path, byte, size, at):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    memory = mmap.mmap(-1, size)
    memory.write(byte * size)
    os.pwrite(fd, memory, at)
    os.close(fd)

def copy(source, target, size):
    one = os.open(source, os.O_RDONLY)
    other = os.open(target, os.O_WRONLY | os.O_CREAT, 0o644)
    os.copy_file_range(one, other, size)
    os.close(one)
    os.close(other)

def patch_synced(path, data, at):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwritev(fd, [data], at, os.RWF_DSYNC)
    os.close(fd)
"""

libc = ctypes.CDLL(None, use_errno=True)
BTRFS_START_SYNC, BTRFS_WAIT_SYNC = 0x80089418, 0x40089416
#: of sync_file_range(2)
WRITE, WRITE_AND_WAIT = 2, 7


class Shaker:
    """Does what a kernel may do at any time: writes files back, commits the journal.

    It asks from outside the pipeline, whose trace knows nothing of it.
    """

    def __init__(self, kind, where, box, seed):
        self.kind, self.where, self.box, self.random = kind, where, box, random.Random(seed)

    def shake(self):
        """Do something, or nothing."""
        action = self.random.choice([None, self.write_back, self.commit, self.both])
        if action is not None:
            action()
        time.sleep(self.random.choice([0, 0, 0.0005, 0.003]))

    def both(self):
        self.write_back()
        self.commit()

    def write_back(self):
        """Start to write a file back, or a block of it; wait for it or not."""
        files = sorted(path for path in self.box.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            return
        chosen = self.random.choice(files)
        pages = -(-chosen.stat().st_size // 4096)
        first = self.random.randrange(pages + 1) * 4096
        length = self.random.choice([0, 4096])
        how = self.random.choice([WRITE, WRITE_AND_WAIT])
        with open_fd(chosen) as fd:
            libc.sync_file_range(fd, ctypes.c_long(first if length else 0), ctypes.c_long(length), how)

    def commit(self):
        """Commit all metadata that there is; data is left where it is."""
        if self.kind == "btrfs":
            with open_fd(self.where) as fd:
                number = ctypes.c_uint64()
                libc.ioctl(fd, ctypes.c_ulong(BTRFS_START_SYNC), ctypes.byref(number))
                libc.ioctl(fd, ctypes.c_ulong(BTRFS_WAIT_SYNC), ctypes.byref(number))
            return
        with open_fd(self.where / "other", os.O_WRONLY | os.O_CREAT) as fd:
            os.write(fd, b"other")
            os.fsync(fd)


@contextlib.contextmanager
def open_fd(path, flags=os.O_RDONLY):
    fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def digest_of_data(image):
    """Digest what is in an image beside holes."""
    digest, end = hashlib.blake2b(), 0
    with open_fd(image) as fd, contextlib.suppress(OSError):  # ENXIO: nothing but a hole
        while True:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
            digest.update(b"%d+" % start + os.pread(fd, end - start, start))
    return digest.digest()


class Copies:
    """Copies of a disk, equal ones kept once."""

    def __init__(self, disk, place):
        self.disk, self.place, self.taken = disk, place, 0
        self.known = {}

    def take(self, at):
        image = self.place / f"copy{self.taken}"
        self.taken += 1
        self.disk.snapshot(image)
        known, moments = self.known.setdefault(digest_of_data(image), (image, []))
        if at not in moments:
            moments.append(at)
        if known != image:
            image.unlink()


#: Pipelines: what is there and durable before, and what is done.
PIPELINES = {
    "rename without fsync": ("", "write('.a', b'a' * 5000); os.rename('.a', 'a')"),
    "replace without fsync": ("write('a', b'o' * 9000)", "write('.a', b'a' * 5000); os.rename('.a', 'a')"),
    "fsync after rename": (
        "",
        "write('.a', b'a' * 5000); os.rename('.a', 'a'); sync('a'); write('.d', b'', file=True); sync('.')",
    ),
    "fsync of the file": ("", "write('.a', b'a' * 5000, file=True); os.rename('.a', 'a')"),
    "fsync of the directory": ("", "write('.a', b'a' * 5000); os.rename('.a', 'a'); sync('.')"),
    "fsync of both": ("", "write('.a', b'a' * 5000, file=True); os.rename('.a', 'a'); sync('.')"),
    "replace and fsync of both": (
        "write('a', b'o' * 9000)",
        "write('.a', b'a' * 5000, file=True); os.rename('.a', 'a'); sync('.')",
    ),
    "replace and fsync of the directory": (
        "write('a', b'o' * 5000)",
        "write('.a', b'a' * 9000); os.rename('.a', 'a'); sync('.')",
    ),
    "fsync of a marker": (
        "",
        "write('.a', b'a' * 5000); os.rename('.a', 'a'); write('.done', b'd', file=True); sync('.')",
    ),
    "overwrite in place": (
        "write('a', b'o' * 20000)",
        "patch('a', b'a' * 5000, 3000); patch('a', b'b' * 100, 12200); data_sync('a'); patch('a', b'c', 0)",
    ),
    "append": (
        "write('log', b'o' * 3000)",
        (
            "append('log', b'a' * 500); append('log', b'b' * 3000); data_sync('log');"
            "append('log', b'c' * 9000); push('log', 7); append('log', b'd' * 70)"
        ),
    ),
    "truncate": (
        "write('a', b'o' * 20000); write('b', b'o' * 6000)",
        (
            "os.truncate('a', 5000); patch('a', b'a' * 100, 9000); sync('b'); os.truncate('a', 0);"
            "append('a', b'b' * 100); os.truncate('b', 9000); sync('a'); os.truncate('b', 100)"
        ),
    ),
    "written anew": (
        "write('a', b'o' * 9000)",
        "write('a', b'a' * 5000); write('b', b'b', file=True); write('a', b'c' * 50, file=True)",
    ),
    "mkdir and rename of a directory": (
        "",
        (
            "os.mkdir('.d'); write('.d/a', b'a' * 5000, file=True); sync('.d'); os.rename('.d', 'd');"
            "sync('.'); write('d/b', b'b' * 50); os.rename('d/b', 'b'); sync('d'); os.mkdir('d/e'); sync('b')"
        ),
    ),
    "link": (
        "write('a', b'o' * 5000); os.mkdir('d')",
        (
            "os.link('a', 'b'); append('b', b'b' * 100); os.link('a', 'd/c'); os.unlink('a'); sync('b');"
            "os.unlink('d/c'); os.symlink('b', 'a'); sync('.')"
        ),
    ),
    "unlink": (
        "write('a', b'o' * 5000); write('b', b'p' * 50); os.mkdir('d'); write('d/a', b'q')",
        (
            "os.unlink('a'); write('a', b'a' * 100); sync('b'); os.unlink('d/a'); os.rmdir('d');"
            "write('d', b'd'); sync('a'); os.unlink('b'); sync('.')"
        ),
    ),
    "exchange": (
        "write('a', b'o' * 5000); write('b', b'p' * 50)",
        "exchange('a', 'b'); sync('a'); write('c', b'c' * 6000); exchange('c', 'b'); sync('.')",
    ),
    "O_SYNC and O_DSYNC": (
        "write('a', b'o' * 9000)",
        (
            "patch('a', b'a' * 5000, 0); patch('a', b'b' * 500, 9000, flags=os.O_SYNC);"
            "patch('a', b'c' * 3000, 4000, flags=os.O_DSYNC); append('a', b'd' * 100);"
            "write('b', b'e' * 100, flags=os.O_DSYNC)"
        ),
    ),
    "holes": (
        "",
        (
            "patch('a', b'a' * 100, 20000); patch('a', b'b' * 5000, 3000); push('a');"
            "patch('a', b'c', 40000); write('b', b'b', file=True); data_sync('a'); os.truncate('a', 60000)"
        ),
    ),
    "fsync of another file": (
        "write('b', b'o' * 50)",
        (
            "write('a', b'a' * 5000); append('b', b'b' * 50); sync('b'); os.rename('a', 'c'); sync('b');"
            "append('b', b'b' * 50); sync('b'); os.chmod('b', 0o600); os.mkdir('d');"
            "data_sync('b'); sync('b')"
        ),
    ),
    "sync_file_range and rename": (
        "write('a', b'o' * 5000)",
        "write('.a', b'a' * 9000); push('.a', 7); os.rename('.a', 'a'); sync('.')",
    ),
    "O_DSYNC of a later block": (
        "",
        "append('a', b'a'); patch('a', b'k' * 5000, 4096, flags=os.O_DSYNC)",
    ),
    "moved to another directory": (
        "os.mkdir('d'); write('d/a', b'o' * 9000); write('b', b'p' * 5000); os.mkdir('.e')",
        (
            "os.rename('b', 'd/a'); sync('d'); os.rename('.e', 'd/e'); sync('d/a');"
            "os.rename('d/a', 'a'); sync('d')"
        ),
    ),
    "exchanged across directories": (
        "os.mkdir('d'); write('d/a', b'o' * 9000); write('b', b'p' * 5000)",
        "exchange('b', 'd/a'); sync('d'); exchange('b', 'd/a'); sync('.')",
    ),
    "replaced after its fsync": (
        "",
        (
            "write('b', b'p' * 900, file=True); write('.b', b'q' * 900); os.rename('.b', 'b');"
            "write('c', b'e', file=True)"
        ),
    ),
    "replaced by what was there": (
        "write('a', b'o' * 900)",
        "write('b', b'p' * 900, file=True); os.rename('a', 'b'); write('c', b'e', file=True)",
    ),
    "a gap that is filled": (
        "",
        (
            "patch('a', b'!', 20479); patch('a', b'a' * 4096, 4096, flags=os.O_DSYNC);"
            "patch('a', b'b' * 4096, 0); patch('a', b'c' * 4096, 12288); patch_synced('a', b'd' * 9, 8192)"
        ),
    ),
    "holes that are punched": (
        "write('a', b'o' * 20000)",
        (
            "allocate('a', 3, 3000, 6000); patch('a', b'a' * 100, 5000); append('a', b'b' * 5000);"
            "allocate('a', 3, 20100, 900); write('b', b'b', file=True); allocate('a', 17, 8192, 30000)"
        ),
    ),
    "a long append": (
        "",
        "write('a', b'a' * 3000000); push('a'); append('a', b'b' * 2000000); os.rename('a', 'b'); sync('.')",
    ),
    "files without a name": (
        "write('a', b'o' * 5000)",
        (
            "unnamed('.', 'b', b'x' * 9000); unnamed('.', '.c', b'y' * 9000, True); os.rename('.c', 'a');"
            "sync('.'); unnamed('.', 'd', b'd' * 100)"
        ),
    ),
}

NAMES = ("a", "b", "d/a", "d/b", "e/a")
SIZES = (1, 100, 3000, 4096, 5000, 9000)
DIRECTORIES = ("d", "e", "f")
#: Steps of generated pipelines, as templates; those that are frequent stand twice.
STEPS = (
    "write({name!r}, b'{letter}' * {size}, file={rarely})",
    "append({name!r}, b'{letter}' * {size}, file={rarely})",
    "patch({name!r}, b'{letter}' * {size}, {offset}, file={rarely})",
    "patch({name!r}, b'{letter}' * {size}, {offset}, flags=os.O_DSYNC)",
    "os.truncate({name!r}, {size})",
    "os.rename({name!r}, {second!r})",
    "os.rename({name!r}, {second!r})",
    "os.link({name!r}, {second!r})",
    "os.unlink({name!r})",
    "exchange({name!r}, {second!r})",
    "os.rename({directory!r}, {other!r})",
    "os.mkdir({directory!r})",
    "os.rmdir({directory!r})",
    "sync({name!r})",
    "sync({name!r})",
    "data_sync({name!r})",
    "sync({directory!r})",
    "sync('.')",
    "push({name!r}, {how})",
    "allocate({name!r}, 0, {offset}, {size})",
    "allocate({name!r}, 1, {offset}, {size})",
    "allocate({name!r}, 3, {offset}, {size})",
    "allocate({name!r}, 16, {offset}, {size})",
    "os.chmod({name!r}, 0o600 + {offset} % 7)",
    "os.setxattr({name!r}, 'user.{letter}', b'v' * ({size} % 300))",
    "patch_synced({name!r}, b'{letter}' * {size}, {offset})",
    "directly({name!r}, b'{letter}', 8192, {offset} // 4096 * 4096)",
    "copy({name!r}, {second!r}, {size})",
    "os.symlink('{letter}' * ({size} % 200 + 1), {second!r})",
    "unnamed('.', {second!r}, b'{letter}' * {size}, {rarely})",
    "os.sync()",
)


def generated(seed):
    """Return a pipeline of random steps; those that fail do nothing."""
    chance = random.Random(seed)

    def step(templates, letter):
        text = chance.choice(templates).format(
            letter=letter,
            name=chance.choice(NAMES),
            second=chance.choice(NAMES),
            size=chance.choice(SIZES),
            offset=chance.choice((0, 99, 4095, 4096, 9000)),
            rarely=chance.random() < 0.2,
            directory=chance.choice(DIRECTORIES),
            other=chance.choice(DIRECTORIES),
            how=chance.choice((WRITE, WRITE_AND_WAIT)),
        )
        return f"with suppress(OSError): {text}"

    before = "\n".join(["os.mkdir('d')", *(step(STEPS[:3], letter) for letter in "op")])
    return before, "\n".join(step(STEPS, letter) for letter in "abcdefghijklmn")


def record(kind, place, before, source, seed):
    """Run a pipeline on a new file system; return the initial files, its ops, and copies of the disk."""
    where = place / "mnt"
    box, ops = where / "box", []
    python = [sys.executable, "-I", "-S", "-c"]
    with RealFs(kind, place / "image", where) as disk:
        copies = Copies(disk, place)
        box.mkdir()
        (where / "other").touch()
        subprocess.run([*python, PREAMBLE + before], cwd=box, check=True)
        disk.sync()
        initial = Disk.load(box)
        shaker = None if seed is None else Shaker(kind, where, box, seed)

        def copy():
            if shaker is not None:
                shaker.shake()
            copies.take(len(ops))

        def visit(op, _number):
            copy()
            ops.append(op)
            return GO

        ran = run(
            Program([*python, PREAMBLE + source], cwd=box, env={}, box=box),
            RunOptions(timeout=60, visit=visit, data=True),
        )
        if ran.failure():
            raise RuntimeError(f"{ran.failure()}\n{ran.stderr}")
        copy()
    return initial, ops, copies


def examine(kind, place, before, source, seed):
    """Mount each copy, and ask."""
    initial, ops, copies = record(kind, place, before, source, seed)
    model = PowerModel(initial, ops)
    denied = []
    for image, moments in copies.known.values():
        with mounted(kind, image, place / "mnt") as where:
            box = where / "box"
            denied += [
                [profile, at, {str(path.relative_to(box)): path.lstat().st_size for path in box.rglob("*")}]
                for profile in ("posix", kind)
                for at in moments
                if not model.under(profile).admits(box, at)
            ]
        image.unlink()
    told = [f"{number} {op.describe()} @{op.offset}" for number, op in enumerate(ops, start=1)]
    return {"ops": told, "states": len(copies.known), "denied": denied}


def main():
    adopt_orphans()
    kind, place = sys.argv[1], Path(sys.argv[2])
    wanted = [(name, *pipeline, seed) for name, pipeline in PIPELINES.items() for seed in (None, 1)]
    wanted += [(f"generated {seed}", *generated(seed), seed) for seed in GENERATED]
    for name, before, source, seed in wanted:
        found = examine(kind, place, before, source, seed)
        sys.stdout.write(json.dumps({"name": name, "seed": seed, **found}) + "\n")


if __name__ == "__main__":
    main()
