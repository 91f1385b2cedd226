"""A disk that takes its time and keeps a log: one file, served over /dev/fuse, for a loop device to lie on.

Each block write takes some milliseconds, and some are held until others are done, as on a disk that is not
a file in memory: so what a file system does in between can be seen. All writes and flushes are logged in the
order in which they are done; a power cut leaves the disk as any beginning of the log made it, and of what was
written since the last flush any part may be missing.

The protocol is that of ``linux/fuse.h``; a file system whose root is a file needs ten of its requests.
"""

import contextlib
import ctypes
import errno
import heapq
import os
import select
import socket
import stat
import struct
import time
from pathlib import Path

from outlive_harness.disk.realfs import copy_sparse

_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS = 2, 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSH, _INIT, _DESTROY, _BATCH_FORGET = 18, 20, 25, 26, 38, 42
_HEADER, _REPLY = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
#: Bytes of one write at most; requests are read into a buffer of that and their header.
_MOST = 128 * 1024
_FOPEN_DIRECT_IO, _FOPEN_PARALLEL_WRITES, _ASYNC_DIO = 1, 1 << 6, 1 << 15
#: Seconds that a write is held at most, for whoever waits for it.
_HELD = 5.0
_libc = ctypes.CDLL(None, use_errno=True)


class SlowDisk:
    """A file that a process of its own serves; for as long as the body runs.

    Args:
        image: what is on the disk at first; it is left as it is.
        where: the file to serve it as; it is mounted over.
        held: the first byte of the writes that are held until release() is called; none by default.
    """

    def __init__(self, image, where, held=b""):
        self._image, self.path, self._held = image, where, held

    def __enter__(self):
        self.path.touch()
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={device},rootmode={stat.S_IFREG:o},user_id={os.getuid()},group_id={os.getgid()}"
        if _libc.mount(b"slow", os.fsencode(self.path), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        self._ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            with contextlib.suppress(BaseException):
                self._ours.close()
                _Server(device, theirs, self._image, self._held).serve()
                status = 0
            os._exit(status)
        theirs.close()
        os.close(device)
        return self

    def __exit__(self, *_):
        self._tell("end")
        self._ours.close()
        _libc.umount2(os.fsencode(self.path), 2)  # MNT_DETACH
        os.waitpid(self.pid, 0)

    def _tell(self, text):
        self._ours.sendall(f"{text}\n".encode())

    def delay(self, seconds):
        """Let each write take so long from now on."""
        self._tell(f"delay {seconds}")
        self.mark()

    def release(self):
        """Let the writes go on that are held."""
        self._tell("release")
        self.mark()

    def mark(self):
        """Return how many writes and flushes there were so far."""
        self._tell("mark")
        return int(self._ours.recv(64))

    def save(self, path):
        """Write the log to a file, for Log to read."""
        self._tell(f"save {path}")
        assert self._ours.recv(64)


class _Server:
    """Answers the requests of the kernel, delays writes, and obeys its commands."""

    def __init__(self, device, control, image, held):
        self._device, self._control = device, control
        self._file = os.open(image, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._blocks = {}  # what was written, by offset, in sectors
        self._log = []
        self._delay = 0.0
        self._held = held
        self._waiting = []  # writes that are under way: when each is done, its number, and itself
        self._count = 0
        self._said = b""

    def serve(self):
        poller = select.poll()
        for fd in (self._device, self._control.fileno()):
            poller.register(fd, select.POLLIN)
        while True:
            left = self._waiting[0][0] - time.monotonic() if self._waiting else None
            for fd, _ in poller.poll(None if left is None else max(0.0, left * 1000)):
                if fd == self._device:
                    try:
                        request = os.read(self._device, _MOST + 4096)
                    except OSError as error:
                        if error.errno in (errno.ENOENT, errno.EINTR):
                            continue
                        return  # unmounted: ENODEV
                    self._take(request)
                elif not self._obey():
                    return
            self._done_by_now()

    def _done_by_now(self):
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, unique, offset, data = heapq.heappop(self._waiting)
            self._write(offset, data)
            self._reply(unique, 0, struct.pack("=II", len(data), 0))

    def _obey(self):
        self._said += self._control.recv(4096)
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "end":
                return False
            if word == "delay":
                self._delay = float(rest)
            elif word == "release":
                self._waiting = [(min(due, time.monotonic()), *more) for due, *more in self._waiting]
                self._done_by_now()
            elif word == "mark":
                self._control.sendall(b"%d" % len(self._log))
            else:
                parts = (struct.pack("=qq", offset, len(data)) + data for offset, data in self._log)
                Path(rest).write_bytes(b"".join(parts))
                self._control.sendall(b"saved")
        return True

    def _take(self, request):
        length, opcode, unique, _node, _uid, _gid, _pid, _ = _HEADER.unpack_from(request)
        body = request[_HEADER.size : length]
        if opcode == _WRITE:
            _, offset, size = struct.unpack_from("=QQI", body)
            data = body[40 : 40 + size]
            takes = _HELD if self._delay and self._held and data.startswith(self._held) else self._delay
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + takes, self._count, unique, offset, data))
        elif opcode not in (_FORGET, _BATCH_FORGET):
            self._reply(unique, *self._done(opcode, body))

    def _reply(self, unique, error, answer):
        with contextlib.suppress(FileNotFoundError):  # the request was abandoned
            os.write(self._device, _REPLY.pack(_REPLY.size + len(answer), -error, unique) + answer)

    def _done(self, opcode, body):
        if opcode == _INIT:
            major, minor, ahead, _ = struct.unpack_from("=IIII", body)
            facts = major, min(minor, 31), ahead, _ASYNC_DIO, 16, 12, _MOST, 1, 32, 0, 0
            return 0, struct.pack("=IIIIHHIIHHI28x", *facts)
        if opcode in (_GETATTR, _SETATTR):
            return 0, struct.pack("=QIIQQQQQQIIIIIIIIII", 1, 0, 0, *self._attributes())
        if opcode == _OPEN:
            return 0, struct.pack("=QII", 1, _FOPEN_DIRECT_IO | _FOPEN_PARALLEL_WRITES, 0)
        if opcode == _READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return 0, self._read(offset, min(size, max(0, self._size - offset)))
        if opcode == _STATFS:
            return 0, struct.pack("=QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0)
        if opcode == _FSYNC:
            self._log.append((-1, b""))
        return (0 if opcode in (_RELEASE, _FLUSH, _FSYNC, _DESTROY) else errno.ENOSYS), b""

    def _attributes(self):
        mode = stat.S_IFREG | 0o600
        return (
            1,
            self._size,
            self._size // 512,
            0,
            0,
            0,
            0,
            0,
            0,
            mode,
            1,
            os.getuid(),
            os.getgid(),
            0,
            4096,
            0,
        )

    def _read(self, offset, size):
        data = bytearray(os.pread(self._file, size, offset).ljust(size, b"\0"))
        for at in range(offset // 512 * 512, offset + size, 512):
            block = self._blocks.get(at)
            if block is not None:
                first, last = max(at, offset), min(at + 512, offset + size)
                data[first - offset : last - offset] = block[first - at : last - at]
        return bytes(data)

    def _write(self, offset, data):
        assert offset % 512 == len(data) % 512 == 0, "a loop device writes sectors"
        for at in range(0, len(data), 512):
            self._blocks[offset + at] = data[at : at + 512]
        self._log.append((offset, data))


class Log:
    """What a disk was told to write, in order, and what a power cut leaves of it.

    Args:
        image: what was on the disk at first.
        path: where SlowDisk.save() put the log.
    """

    def __init__(self, image, path):
        self._image = image
        self.entries = []
        data = path.read_bytes()
        at = 0
        while at < len(data):
            offset, size = struct.unpack_from("=qq", data, at)
            self.entries.append((offset, data[at + 16 : at + 16 + size]))
            at += 16 + size

    def unflushed(self, end):
        """Return the places of the writes among the first *end* entries that no flush came after."""
        start = max((place + 1 for place in range(end) if self.entries[place][0] < 0), default=0)
        return list(range(start, end))

    def leave(self, copy, end, lost=frozenset()):
        """Make the image that a power cut leaves after so many entries, but for those that are lost."""
        copy_sparse(self._image, copy)
        with copy.open("r+b") as file:
            for place, (offset, data) in enumerate(self.entries[:end]):
                if offset >= 0 and place not in lost:
                    file.seek(offset)
                    file.write(data)
        return copy
