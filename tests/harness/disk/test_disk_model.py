"""The model of the disk: what it predicts of any program of file operations is what the kernel does."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DRIVER = Path(__file__).with_name("_disk_driver.py")

NAMES = ("a", "b", "c")
PATHS = st.sampled_from(
    [*NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES), "a/b/c", "a/a/a", "b/c/a", "./a", "a/../b"]
)
SLOTS = st.integers(0, 3)
OFFSETS = st.sampled_from([0, 1, 100, 4095, 4096, 5000, 8192, 12288, 20000])
LENGTHS = st.sampled_from([0, 1, 5, 100, 2000, 4096, 5000, 9000])
MODES = st.sampled_from([0o644, 0o600, 0o777, 0o400, 0o6755, 0o2711, 0o1777, 0o000])
ACCESS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
EXTRA = st.lists(
    st.sampled_from(
        [
            os.O_CREAT, os.O_CREAT, os.O_TRUNC, os.O_EXCL, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY,
            os.O_TMPFILE, os.O_PATH,
        ]
    ),
    max_size=3,
)  # fmt: skip
FLAGS = st.builds(lambda access, extra: access | sum(set(extra)), ACCESS, EXTRA)
COMMON = st.sampled_from([os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC])
TMPFILE = st.tuples(
    st.just("open"), SLOTS, st.sampled_from([".", "a", "b"]), st.just(os.O_TMPFILE | os.O_RDWR), MODES
)
OPS = st.one_of(
    st.tuples(st.just("open"), SLOTS, PATHS, COMMON, MODES),
    st.tuples(st.just("open"), SLOTS, PATHS, COMMON, st.just(0o644)),
    st.tuples(st.just("open"), SLOTS, PATHS, FLAGS, MODES),
    TMPFILE,
    st.tuples(st.just("close"), SLOTS),
    st.tuples(st.just("write"), SLOTS, LENGTHS),
    st.tuples(st.just("writev"), SLOTS, LENGTHS),
    st.tuples(st.just("pwrite"), SLOTS, OFFSETS, LENGTHS),
    st.tuples(
        st.just("pwritev2"), SLOTS, OFFSETS | st.just(-1), LENGTHS, st.sampled_from([0, 2, 0x10, 0x20, 0x12])
    ),
    st.tuples(st.just("lseek"), SLOTS, OFFSETS),
    st.tuples(st.just("ftruncate"), SLOTS, OFFSETS),
    st.tuples(st.just("truncate"), PATHS, OFFSETS),
    st.tuples(
        st.just("fallocate"),
        SLOTS,
        st.sampled_from([0, 1, 3, 2, 8, 16, 17, 32, 33, 0x40, 0x41]),
        OFFSETS,
        LENGTHS,
    ),
    st.tuples(st.just("mkdir"), PATHS, MODES),
    st.tuples(
        st.just("mknod"), PATHS, st.sampled_from([0o644, stat.S_IFREG | 0o600, stat.S_IFIFO | 0o622, 0o40755])
    ),
    st.tuples(st.just("rmdir"), PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS, st.sampled_from([0, 0, 0, 1, 2, 4, 3, 5, 6, 8])),
    st.tuples(st.just("link"), PATHS, PATHS, st.sampled_from([0, 0x400])),
    st.tuples(st.just("link_fd"), SLOTS, PATHS, st.booleans()),
    st.tuples(st.just("symlink"), st.sampled_from(["a", "b", "../a", "c", "a/b", "..", "gone", ""]), PATHS),
    st.tuples(st.just("chmod"), PATHS, MODES),
    st.tuples(st.just("fchmod"), SLOTS, MODES),
    st.tuples(st.just("chown"), PATHS, st.sampled_from([-1, 0, 1])),
    st.tuples(st.just("umask"), st.sampled_from([0, 0o022, 0o077, 0o777])),
    st.tuples(st.just("sendfile"), SLOTS, SLOTS, st.just(-1) | OFFSETS, LENGTHS),
    st.tuples(
        st.just("copy_file_range"), SLOTS, st.just(-1) | OFFSETS, SLOTS, st.just(-1) | OFFSETS, LENGTHS
    ),
    st.tuples(st.just("clone"), SLOTS, SLOTS),
    st.tuples(st.just("setxattr"), PATHS, st.integers(0, 5), st.integers(0, 2)),
    st.tuples(st.just("removexattr"), PATHS),
    st.tuples(st.just("utime"), PATHS, st.integers(0, 5)),
    st.tuples(st.just("fsync"), SLOTS),
)
PROGRAMS = st.builds(
    lambda setup, ops: {"setup": setup, "ops": ops}, st.lists(OPS, max_size=12), st.lists(OPS, max_size=25)
)


class Kernel:
    """A process that carries programs out under the supervisor, and compares as it goes."""

    def __init__(self, box):
        box.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(DRIVER), "supervise", str(box)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def differs(self, program):
        self.process.stdin.write(json.dumps(program) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the supervising process ended"
        return json.loads(line)

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The real thing, on the file system that temporary files are on."""
    one = Kernel(tmp_path_factory.mktemp("kernel") / "box")
    yield one
    one.end()


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(program=PROGRAMS)
def test_any_program_leaves_the_files_that_the_model_predicts(kernel, program):
    """Random programs run for real, step by step against the model: the trees are equal, always."""
    assert kernel.differs(program) is None
