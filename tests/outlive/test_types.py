"""What a type checker knows of the public names: mypy, in strict mode, of a program that uses them."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
USES = """
from typing import BinaryIO, TextIO, assert_type
from outlive import Checkpoints, Items, Retry, atomic_batch, atomic_open, run_steps, step

@step(inputs="raw.csv", outputs="clean.csv", retry=Retry(OSError))
def add(left: int, *, right: str = "") -> float:
    return float(left)

@step(after=add)
def last() -> None: ...

class Pipeline:
    @step(outputs="x")
    def method(self, number: int) -> str:
        return str(number)

assert_type(add(1, right="2"), float)
assert_type(Pipeline().method(3), str)
run_steps([last, ("named", last)])

@Retry(on=OSError)
def fetch(url: str) -> bytes:
    return b""

assert_type(fetch("x"), bytes)
numbers = Checkpoints().items("sum", [1, 2], key=str)
assert_type(numbers, Items[int])
for number in numbers:
    assert_type(number, int)
    with numbers.doing(number, outputs="x"):
        pass
with atomic_open("a") as text, atomic_open("b", "wb") as binary, atomic_batch() as batch:
    assert_type(text, TextIO)
    assert_type(binary, BinaryIO)
    with batch.open("c", "wb") as inner:
        assert_type(inner, BinaryIO)
"""
#: What must be refused, each with what mypy says.
MISUSES = {
    'add("one")': 'Argument 1 to "add" has incompatible type "str"; expected "int"',
    "add(1, left=2)": "multiple values",
    "step(outputs=3)(add)": 'Argument "outputs" to "step" has incompatible type "int"',
    'numbers.done("1")': 'Argument 1 to "done" of "Items" has incompatible type "str"; expected "int"',
    'Pipeline().method("3")': 'Argument 1 to "method" of "Pipeline" has incompatible type "str"',
}


def mypy(tmp_path, program):
    """Return what mypy says of a program that is installed beside the library."""
    (tmp_path / "program.py").write_text(program)
    cache = REPOSITORY / ".mypy_cache" / "tests"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "program.py"]
    environment = {"MYPYPATH": str(REPOSITORY / "src"), "PATH": ""}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return ran.stdout


def test_types_are_kept(tmp_path):
    """A function that is declared or tried again has the type that it had; files are text or binary."""
    pytest.importorskip("mypy", reason="needs mypy: pip install mypy")
    lines = USES.count("\n")
    said = mypy(tmp_path, USES + "".join(f"{misuse}\n" for misuse in MISUSES)).splitlines()
    assert len(said) == len(MISUSES) + 1, said
    for number, (line, expected) in enumerate(zip(said, MISUSES.values(), strict=False), lines + 1):
        assert line.startswith(f"program.py:{number}: error: ")
        assert expected in line
