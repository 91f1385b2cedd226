"""Conformance: what a real SIGKILL leaves is what the ops before it predict, file for file."""

import json
import sys
from pathlib import Path

import pytest

from outlive_harness.disk.model import Disk
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import scan
from outlive_harness.results.ops import Op

LESSON = Path(__file__).parents[3] / "scenarios" / "lesson.py"

#: Every kind of op that changes the tree, and calls that fail.
MIXTURE = """
import os
os.makedirs("a/b")
try: os.mkdir("a")
except FileExistsError: pass
with open("a/f", "w") as f: f.write("one"); f.flush(); f.write("two")
os.link("a/f", "a/hard")
with open("a/hard", "r+b") as f: f.seek(10); f.write(b"far")
os.symlink("f", "a/soft")
with open("a/soft", "ab") as f: f.write(b"through the link")
os.truncate("a/soft", 5)
fd = os.open("a/b/g", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
os.pwrite(fd, b"x" * 5000, 100)
os.rename("a/b/g", "a/b/h")
os.write(fd, b"after the rename")
os.ftruncate(fd, 300)
os.fchmod(fd, 0o640)
os.close(fd)
os.rename("a/b", "c")
try: os.rmdir("a")
except OSError: pass
try: os.rename("nothing", "x")
except FileNotFoundError: pass
os.unlink("a/soft")
os.mkfifo("pipe")
open("a/f", "w").close()
os.unlink("a/f"); os.unlink("a/hard"); os.rmdir("a")
os.mkdir("empty"); os.rename("c", "empty")
"""


def as_op(fields):
    data = fields.pop("data")
    return Op(**fields, data=None if data is None else bytes.fromhex(data))


def command_of(name):
    if name == "mixture":
        return [sys.executable, "-c", MIXTURE]
    return [sys.executable, "-P", "-m", "outlive_harness._body", str(LESSON), "lesson", "body", "/"]


@pytest.mark.parametrize("name", ["mixture", "lesson"])
def test_each_crash_state_is_the_one_that_the_ops_before_it_predict(name, observe, box):
    """For every k: kill before op k, replay the first k-1 ops on the model, and compare the trees."""
    command = command_of(name)
    temporary = {"TMPDIR": str(box), "HOME": str(box)}
    total = observe(*command, env=temporary).number_of_ops
    assert total > 20
    for k in range(1, total + 2):
        remove_tree(box)
        box.mkdir(mode=0o755)
        seen = observe(*command, env=temporary, data=True, crash_at=k)
        assert seen.ended == ("crashed" if k <= total else "exited"), json.dumps(vars(seen))
        disk = Disk()
        for op in seen.ops[: k - 1]:
            disk.apply(as_op(op))
        assert disk.tree() == scan(box), f"before op {k}: {seen.ops[k - 1] if k <= total else 'the end'}"
