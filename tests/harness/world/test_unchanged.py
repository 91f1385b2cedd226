"""Large files that no run has touched stay in their box, and what a run did touch is never taken for them."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.power import PowerModel
from outlive_harness.disk.tree import scan
from outlive_harness.results.ops import Op
from outlive_harness.results.verdicts import Verdict
from outlive_harness.world.unchanged import LARGE, UnchangedFiles

#: Fills a box, runs a program in it, fills it again and says what became of the large file.
DRIVER = """
import json, os, signal, sys
from pathlib import Path
from outlive_harness.disk.tree import scan
from outlive_harness.world.runner import Runner
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import adopt_orphans

signal.signal(signal.SIGIO, signal.SIG_IGN)
adopt_orphans()
place, code, intercepted = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
runner = Runner(place / "w000")
spec = RunSpec("s", (sys.executable, "-c", code), str(place))
template = place / "template"
runner.box.fill(template)
before = runner.box.look(spec)
big = os.open(runner.box.path / "deep/big", os.O_RDONLY)
visit = (lambda _op, _number: GO) if intercepted else None
ran = runner.run(spec, RunOptions(60, visit=visit))
assert not ran.failure(), ran
same_after = runner.box.look(spec) == scan(runner.box.path, box=runner.box.bytes)
runner.box.fill(template)
print(json.dumps({
    "told": same_after,
    "right": runner.box.look(spec) == before == scan(runner.box.path, box=runner.box.bytes),
    "kept": os.path.samestat(os.fstat(big), os.stat(runner.box.path / "deep/big")),
}))
runner.clear()
"""

#: What a run may do to the file, and whether it is then still the one that was laid.
CHANGES = {
    "nothing": ("", True),
    "read it": ("open('deep/big', 'rb').read()", True),
    "write another": ("open('deep/other', 'w').write('x')", True),
    "append": ("open('deep/big', 'ab').write(b'x')", False),
    "in place, and set the times back": (
        """
i = os.stat('deep/big')
f = open('deep/big', 'r+b')
f.write(b'changed')
f.close()
os.utime('deep/big', ns=(i.st_atime_ns, i.st_mtime_ns))""",
        False,
    ),
    "through memory": (
        """
import mmap
f = open('deep/big', 'r+b')
m = mmap.mmap(f.fileno(), 0)
m[:7] = b'changed'
m.flush()""",
        False,
    ),
    "another in its place": (
        "os.rename('deep/big', 'x')\nopen('deep/big', 'wb').write(bytes(2 << 20))",
        False,
    ),
    "its directory away and back": ("os.rename('deep', 'd'); os.rename('d', 'deep')", False),
    "remove it": ("os.unlink('deep/big')", False),
    "a second name": ("os.link('deep/big', 'twin')", False),
    "its mode": ("os.chmod('deep/big', 0o600)", False),
    "by a child": ("os.system('echo x >> deep/big')", False),
}


@pytest.fixture
def place(tmp_path):
    """A directory with a template that has a large file."""
    deep = tmp_path / "template" / "deep"
    deep.mkdir(parents=True)
    (deep / "big").write_bytes(os.urandom(1 << 20) * 2)
    (deep / "small").write_text("x")
    return tmp_path


def driven(place, code, *, intercepted=True):
    command = [sys.executable, "-P", "-c", DRIVER, str(place), f"import os\n{code}", str(intercepted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("change", CHANGES)
def test_a_box_that_is_filled_again_is_as_the_first_time(place, change):
    """Whatever a run did to a large file, by whatever way, it is told, and the next box has none of it."""
    code, is_kept = CHANGES[change]
    assert driven(place, code) == {"told": True, "right": True, "kept": is_kept}


def test_what_was_not_seen_is_not_believed(place):
    """After a run that is not intercepted a large file is copied anew."""
    assert driven(place, "", intercepted=False) == {"told": True, "right": True, "kept": False}


def test_a_crash_state_takes_over_what_it_has_not_changed(place):
    """A file that is as in the initial directory is moved in; one that was written to is made."""
    initial = place / "template"
    info = (initial / "deep" / "big").stat()
    changed = Op("write", "pwrite64", "deep/big", offset=5, length=3, data=b"new")
    for ops, same in (([], ["deep/big"]), ([changed], [])):
        (copy := place / f"copy{len(ops)}").write_bytes((initial / "deep" / "big").read_bytes())
        model = PowerModel(initial, ops)
        (made := place / f"made{len(ops)}").mkdir()
        assert model.state(len(ops)).write_to(made, {"deep/big": str(copy)}) == same
        assert copy.exists() == (not same)
        assert (scan(made) == scan(initial)) == bool(same)
        if same:
            assert (made / "deep" / "big").stat().st_mtime_ns == info.st_mtime_ns


def test_only_what_comes_from_the_same_place_is_kept(tmp_path):
    """A large file of one directory is none of another's, though they are alike."""
    for name in ("box", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "big").write_bytes(bytes(LARGE))
    still = UnchangedFiles(tmp_path / "box", tmp_path / "shelf")
    assert still.shelve(tmp_path / "one") == {}
    copy_tree(tmp_path / "one", tmp_path / "box")
    still.lay("big")
    assert still
    assert still.shelve(tmp_path / "two") == {}
    assert not still


GOOD = """
import hashlib, os
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="out/*", input="given", torn="bytes",
    faults=("kill", "torn", "power", "full", "eio", "term"))
def BODY
"""
BODIES = {
    "reads": (
        """
        reads():
            data = Path("big").read_bytes()
            Path("out").mkdir(exist_ok=True)
            with open("out/t", "w") as digest:
                digest.write(hashlib.sha256(data).hexdigest())
                digest.flush()
                os.fsync(digest.fileno())
            os.replace("out/t", "out/digest")
            Path("log").write_text("")
        """,
        Verdict.HELD,
    ),
    "changes": (
        """
        changes():
            with open("big", "r+b") as big:
                count = int.from_bytes(big.read(1), "big") + 1
                big.seek(0)
                big.write(bytes([count]))
            Path("out").mkdir(exist_ok=True)
            Path("out/t").write_text(f"counted: {count}")
            os.replace("out/t", "out/count")
            Path("log").write_text("")
        """,
        Verdict.VIOLATED,
    ),
}


@pytest.mark.parametrize("body", BODIES)
def test_verdicts_are_those_of_boxes_that_are_copied(body, explored, tmp_path, monkeypatch):
    """A pipeline that only reads its large input holds; one that counts in it is caught."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "big").write_bytes(bytes(LARGE + 4097))
    text, verdict = BODIES[body]
    monkeypatch.chdir(tmp_path)
    (result,) = explored(GOOD.replace("BODY\n", textwrap.dedent(text).strip() + "\n")).scenarios
    assert result.verdict is verdict, result
    assert all(each.tested == each.chosen > 0 for each in result.faults.values()), result.faults
    assert not list(Path("given").glob("*.t"))


#: Each of these starts over, and leaves a large file's attributes as it finds them half-way.
ATTRIBUTES = """
def durable(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def finish():
    Path("t").write_text("x" * 10)
    durable("t")
    os.replace("t", "out")
    durable(".")

def mark():
    os.setxattr("big", "user.todo", b"1")

@scenario(outputs="out", input="given", setup=mark, faults="power")
def taken_away():
    if Path("begun").exists() and "user.todo" not in os.listxattr("big"):
        raise SystemExit("nothing to do, but no result")
    if "user.todo" in os.listxattr("big"):
        os.removexattr("big", "user.todo")
        durable("big")
    Path("begun").touch()
    durable(".")
    finish()
    os.unlink("begun")

@scenario(outputs="out", input="given", faults="power")
def added():
    if Path("begun").exists() and "user.mark" not in os.listxattr("big"):
        raise SystemExit("begun, and no mark")
    Path("begun").touch()
    durable(".")
    if "user.mark" not in os.listxattr("big"):
        os.setxattr("big", "user.mark", b"1")
        durable("big")
    finish()

@scenario(outputs="out", input="given", faults="power")
def touched():
    if Path("begun").exists() and os.stat("big").st_mtime > 1.2e9:
        raise SystemExit("the input is newer than what was begun with")
    os.utime("big")
    durable("big")
    Path("begun").touch()
    durable(".")
    finish()
    os.unlink("begun")
"""


def test_attributes_of_a_crash_state_are_its_own(explored, tmp_path):
    """A large file whose content alone is as at first is not taken for it, by this trial or the next."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "big").write_bytes(bytes(2 << 20))
    os.utime(given / "big", (1e9, 1e9))
    try:
        os.setxattr(given / "big", "user.try", b"")
    except OSError:
        pytest.skip("no extended attributes here")
    found = explored(ATTRIBUTES).scenarios
    assert [{one.kind for one in each.violations} for each in found] == [{"recovery-failed"}] * 3
    assert all(each.zygote for each in found)
