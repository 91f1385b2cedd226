"""Where in a program ops come from: known for Python, and what stands for what depends on it."""

import subprocess
import sys

import pytest

from outlive_harness.golden.runs import begin_golden_run, finish_golden_run
from outlive_harness.golden.similar import groups
from outlive_harness.golden.stacks import LEAST_OPS
from outlive_harness.launch._stack_slots import SLOT, SLOTS, read
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict
from outlive_harness.world.runner import Runner

#: Output and marker of a step have names that differ in their numbers only, and are put by like calls.
STEPS = """
import os, threading
def put(number, text):
    with open(f"s/part{number}", "w") as f:
        f.write(text)
    os.replace(f"s/part{number}", f"s/{number}")
os.makedirs("s", exist_ok=True)
for step in range(COUNT):
    if not os.path.exists(f"s/{2 * step + 1}"):
        if step == BAD:
            put(2 * step + 1, "x")
            put(2 * step, "x")  # line 12
        else:
            put(2 * step, "x")
            put(2 * step + 1, "x")  # line 15
"""
SCENARIO = """
import sys
from outlive_harness import scenario
it = scenario(command=[sys.executable, "steps.py"], outputs="s/*", name="it")
"""


@pytest.fixture
def program(tmp_path):
    """Write a program and its scenario; return the scenario's file."""

    def write(source):
        (tmp_path / "steps.py").write_text(source)
        path = tmp_path / "it.py"
        path.write_text(SCENARIO.replace('"steps.py"', repr(str(tmp_path / "steps.py"))))
        return path

    return write


def recorded(path, place):
    (scenario,) = load_file(path)
    runner = Runner(place / "w000")
    try:
        begun = begin_golden_run(runner, run_spec_of(scenario), place / "record", memory=0)
        return finish_golden_run(runner, begun)
    finally:
        runner.clear()


def test_each_op_has_the_lines_that_it_comes_from(program, tmp_path):
    """The innermost line first, then its callers; frames of libraries are left out."""
    made = recorded(program(STEPS.replace("COUNT", "60").replace("BAD", "40")), tmp_path)
    assert len(made.stacks) == len(made.ops) > LEAST_OPS
    renames = [stack for op, stack in zip(made.ops, made.stacks, strict=True) if op.kind == "rename"]
    lines = {
        tuple(int(frame.rpartition(":")[2].split()[0]) for frame in stack.split("\n")) for stack in renames
    }
    assert lines == {(6, 11), (6, 12), (6, 14), (6, 15)}
    assert renames.count(renames[81]) == 1  # line 12: once, in step 40
    assert all(frame.startswith(str(tmp_path)) for stack in made.stacks for frame in stack.split("\n"))


def test_threads_have_their_own(program, tmp_path):
    """A thread's op is told by its own last call, not by that of whoever ran last."""
    source = STEPS.split("for step", maxsplit=1)[0] + (
        f"\ndef work():\n    for number in range({LEAST_OPS}):\n        put(number, 'x')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\nput(1, 'y')\n"
    )
    made = recorded(program(source), tmp_path)
    renames = [stack for op, stack in zip(made.ops, made.stacks, strict=True) if op.kind == "rename"]
    assert len(set(renames[:-1])) == 1
    assert renames[-1] != renames[0]


def test_short_runs_and_other_programs_have_none(program, tmp_path):
    """Nothing is chosen from a short run; of a shell nothing is known."""
    assert recorded(program(STEPS.replace("COUNT", "5").replace("BAD", "2")), tmp_path).stacks == []
    path = program("")
    path.write_text(path.read_text().replace("[sys.executable", "['sh'"))
    (tmp_path / "steps.py").write_text(
        f"mkdir s\ni=0; while [ $i -lt {LEAST_OPS} ]; do echo x > s/$i; i=$((i + 1)); done\n"
    )
    made = recorded(path, tmp_path / "shell")
    assert len(made.ops) > LEAST_OPS
    assert made.stacks == []


def test_what_is_done_from_another_line_is_a_group_of_its_own():
    """Ops that are alike but for their stacks are not."""
    ops = [Op("write", "write", f"o{number}") for number in range(20)]
    alike = groups(ops, str)
    assert len(set(alike[3:-1])) == 1
    told = groups(ops, str, ["a"] * 10 + ["b"] + ["a"] * 9)
    assert len(set(told[3:6])) == 1
    assert told[10] not in told[:10]
    assert groups(ops, str, ["a"]) == alike  # stacks of other ops are none


def test_a_bug_in_one_step_of_many_is_found_by_its_line(program, explored):
    """Its marker comes before its output: by kinds and names the ops are those of every other step."""
    path = program(STEPS.replace("COUNT", "120").replace("BAD", "70"))
    (result,) = explored(path.read_text(), select="distinct").scenarios
    assert result.verdict is Verdict.VIOLATED, result
    coverage = result.faults["kill"]
    assert coverage.tested < 60 < coverage.points
    assert {violation.path for violation in result.violations} == {"s/140"}


def left_by(code, name="/x/pipe.py"):
    """Run a program that is followed and asks where it is; return what it is told."""
    program = f"""
import mmap, os, sys, tempfile, threading
from outlive_harness.launch import _stack_slots as slots
file = tempfile.TemporaryFile()
file.truncate(slots.SLOT * slots.SLOTS)
memory = mmap.mmap(file.fileno(), slots.SLOT * slots.SLOTS)
def here():
    sys.stdout.write(slots.read(memory, threading.get_native_id()).decode() + ";")
slots.watch(f"/proc/self/fd/{{file.fileno()}}")
exec(compile({code!r}, {name!r}, "exec"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = [text.split("\n") for text in done.stdout.split(";")[:-1]]
    return [[line for line in lines if not line.startswith("<string>")] for lines in told]


def test_a_line_end_in_the_name_of_a_file_ends_no_frame():
    """It is told as it would be printed."""
    (lines,) = left_by("def f(): here()\nf()", "/x/a\nb.py")
    assert lines == ["/x/a\\nb.py:1 f", "/x/a\\nb.py:2 <module>"]


def test_a_stack_that_is_too_deep_keeps_its_inner_end():
    """And what is told is right again once it is not, and after an error has ended it."""
    deep, shallow = left_by(
        "def f(n):\n    if n: f(n - 1)\n    else:\n        here()\n        raise KeyError\n"
        "try:\n    f(500)\nexcept KeyError:\n    here()\n"
    )
    assert deep[:2] == ["/x/pipe.py:4 f", "/x/pipe.py:2 f"]
    assert len(deep) > 40
    assert shallow == ["/x/pipe.py:9 <module>"]


def test_what_comes_and_goes_leaves_its_callers():
    """Of a generator, a callback and a thread that ends, only what runs just now is told."""
    told = left_by(
        "def g():\n    yield here()\n    here()\n"
        "for _ in g(): here()\n"
        "import functools\nfunctools.reduce(lambda a, b: here(), [1, 2])\n"
        "thread = threading.Thread(target=here)\nthread.start(); thread.join(); here()\n"
    )
    lines = [[int(line.rpartition(":")[2].split()[0]) for line in lines] for lines in told]
    assert lines == [[2, 4], [4], [3, 4], [6, 6], [], [8]]


def test_a_slot_of_another_thread_is_not_read():
    """Two threads may share a slot; what one left is not the other's."""
    memory = bytearray(SLOT * SLOTS)
    memory[:20] = b"".join(word.to_bytes(4, sys.byteorder) for word in (SLOTS, 1, 6, 0, 0))
    memory[20:24] = (7).to_bytes(4, sys.byteorder)
    memory[512:518] = b"a.py\0f"
    assert read(memory, SLOTS) == b"a.py:7 f"
    assert read(memory, 2 * SLOTS) == b""
