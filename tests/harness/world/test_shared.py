"""Very large inputs are shared by all boxes, and a run that touches one gets a copy of its own first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness.results.ops import Op
from outlive_harness.results.verdicts import Verdict
from outlive_harness.world.shared import LEAST, shareable

#: Fills a box by links, runs each program in it, and says what the program and the next box have of the file.
DRIVER = """
import hashlib, json, os, signal, sys
from pathlib import Path
from outlive_harness.disk.tree import scan
from outlive_harness.world.runner import Runner
from outlive_harness.world.shared import SharedFileError
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import adopt_orphans

signal.signal(signal.SIGIO, signal.SIG_IGN)
adopt_orphans()
place, codes = Path(sys.argv[1]), json.loads(sys.argv[2])
template, found = place / "template", []
runner = Runner(place / "w000")
shared = runner.box.unchanged.shared
was = scan(template)

def is_master(where):
    return os.path.samestat(os.stat(where / "deep/big"), os.stat(template / "deep/big"))

for code, visited in codes:
    shared._template = None
    shared.choose(template, ["deep/big"])
    spec = RunSpec("s", (sys.executable, "-c", "import os\\n" + code), str(place))
    runner.box.fill(template)
    one = {"linked": is_master(runner.box.path), "error": ""}
    try:
        ran = runner.run(spec, RunOptions(60, visit=(lambda _op, _number: GO) if visited else None))
        assert not ran.failure(), ran
        here = runner.box.path / "deep/big"
        one["still"] = here.exists() and is_master(runner.box.path)
        one["told"] = runner.box.look(spec) == scan(runner.box.path, box=runner.box.bytes)
        one["as_first"] = scan(runner.box.path) == was
        runner.box.keep(place / "kept")
        one["right"] = scan(place / "kept") == scan(runner.box.path)
        one["kept_linked"] = (place / "kept/deep/big").exists() and is_master(place / "kept")
    except SharedFileError as error:
        one["error"] = error.strerror
    one["safe"] = scan(template) == was
    runner.box.fill(template)
    one["again"] = is_master(runner.box.path), runner.box.look(spec) == was
    found.append(one)
print(json.dumps(found))
runner.clear()
"""
TOUCHES = {
    "append": "open('deep/big', 'ab').write(b'x')",
    "in place": "f = open('deep/big', 'r+b'); f.write(b'changed'); f.close()",
    "through memory": (
        "import mmap\nf = open('deep/big', 'r+b'); m = mmap.mmap(f.fileno(), 0)\nm[:7] = b'changed'"
    ),
    "truncate": "os.truncate('deep/big', 5)",
    "by a link to its directory": "os.symlink('deep', 'l'); open('l/big', 'ab').write(b'x')",
    "its directory moved": "os.rename('deep', 'd'); open('d/big', 'ab').write(b'x')",
    "remove it": "os.unlink('deep/big')",
    "a second name": "os.link('deep/big', 'twin'); open('twin', 'ab').write(b'x')",
    "moved": "os.rename('deep/big', 'x'); open('x', 'ab').write(b'x')",
    "its mode": "os.chmod('deep/big', 0o600)",
    "its times": "os.utime('deep/big', (1, 1))",
    "by a child": "os.system('echo x >> deep/big')",
    "read before and closed": "open('deep/big').close(); open('deep/big', 'ab').write(b'x')",
}
HELD = "r = open('deep/big', 'rb'); open('deep/big', 'ab').write(b'x')"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What became of the file under each of the programs, one after the other, in one worker."""
    place = tmp_path_factory.mktemp("shared")
    (place / "template" / "deep").mkdir(parents=True)
    (place / "template" / "deep" / "big").write_bytes(os.urandom(1 << 20) * 2)
    (place / "template" / "small").write_text("x")
    codes = {"read it": "open('deep/big', 'rb').read(9)", **TOUCHES, "held": HELD}
    runs = [(code, True) for code in codes.values()] + [(TOUCHES["append"], False)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRIVER, str(place), json.dumps(runs)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip([*codes, "not seen"], json.loads(done.stdout), strict=True))


def test_a_run_that_only_reads_shares_the_file_to_the_end(found):
    """No box has a copy of its own, and neither has what is kept of it beside the boxes."""
    one = found["read it"]
    assert one == dict(one, linked=True, still=True, told=True, as_first=True, right=True, kept_linked=True)


@pytest.mark.parametrize("touch", [*TOUCHES, "not seen"])
def test_a_run_that_touches_the_file_changes_a_copy_of_its_own(found, touch):
    """By whatever way: the change is in its box alone, and told; the next box begins as the first did."""
    one = found[touch]
    assert not one["error"]
    assert one["safe"]
    assert one["told"]
    assert one["right"]
    assert not one["still"]
    assert not one["kept_linked"]
    assert one["as_first"] == (touch == "its times")  # a tree of files holds no times
    assert one["again"][1]


def test_a_run_that_has_the_file_open_is_to_be_repeated(found):
    """It would read the old content beside its own change: the next box has a copy of its own."""
    one = found["held"]
    assert "was open" in one["error"]
    assert one["safe"]
    assert one["again"] == [False, True]


def test_only_very_large_files_that_no_op_names_are_shared(tmp_path):
    """A file or a directory above it that an op names, a small one, one with two names: these are copied."""
    for path in ("a/big", "b/big", "c/big", "small", "twin"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
        os.truncate(tmp_path / path, LEAST if path != "small" else LEAST - 1)
    os.link(tmp_path / "twin", tmp_path / "twin2")
    ops = [Op("open", "open", "a/big"), Op("rename", "rename", "x", "b"), Op("mkdir", "mkdir", "c/b")]
    assert shareable(tmp_path, ops) == ("c/big",)


SCENARIOS = """
@scenario(outputs="out/*", input="given", depth=2)
def reads():
    with open("big", "rb") as big:
        put("out/size", str(big.seek(0, 2)))

@scenario(outputs="out/*", input="given")
def recovery_changes_what_it_has_open():
    held = open("big", "rb")
    if Path("begun").exists():
        with open("big", "r+b") as big:
            big.write(b"x")
    Path("begun").touch()
    put("out/first", str(held.read(1)))
    os.unlink("begun")
"""


def test_verdicts_are_those_of_boxes_that_are_copied(explored, tmp_path, monkeypatch):
    """A reader holds at every depth; a recovery reads what it has written through another descriptor."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "big").touch()
    os.truncate(tmp_path / "given" / "big", LEAST)
    monkeypatch.chdir(tmp_path)
    reads, changes = explored(SCENARIOS, explain="none").scenarios
    assert reads.verdict is Verdict.HELD, reads
    assert changes.verdict is Verdict.VIOLATED, changes
    assert [(one.kind, one.path) for one in changes.violations] == [("diverged", "out/first")]
    assert not Path("given", "big").read_bytes().strip(b"\0")
