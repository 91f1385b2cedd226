"""The how-to's fault works as it stands there: its file and its line in the table are all that it takes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "add-a-fault.md").read_text()
#: The two blocks of the page: a file to add, and a change of the table.
FILE = re.search(r'^```python title="(.+)"\n((?:.*\n)+?)^```', PAGE, re.MULTILINE)
TABLE = re.search(r'^```diff title="(.+)"\n((?:.*\n)+?)^```', PAGE, re.MULTILINE)
NAME = re.search(r'^    name = "(\w+)"', FILE[2], re.MULTILINE)[1]

#: Takes what is there for whole, and reports errors by its status.
BAD = """\
from pathlib import Path

Path("out").mkdir(exist_ok=True)
if not Path("out/report.txt").exists():
    with open("out/report.txt", "w") as file:
        file.write("one\\n")
        file.flush()
"""
GOOD = """\
import os
from pathlib import Path

Path("out").mkdir(exist_ok=True)
if not Path("out/report.txt").exists():
    Path("part").write_text("one\\n")
    os.replace("part", "out/report.txt")
"""
SCENARIOS = """
from outlive_harness import scenario

@scenario(outputs="out/*", expect=("torn-output", "diverged"), faults=("NAME",))
def bad():
    exec(open(BAD).read())

@scenario(outputs="out/*", faults=("kill", "NAME"))
def good():
    exec(open(GOOD).read())
"""


def patched(text, change):
    """Return a text with the hunks of a diff applied."""
    for hunk in change.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] == " ")
        assert text.count(old) == 1, hunk
        text = text.replace(old, "".join(line[1:] for line in lines))
    return text


@pytest.fixture(scope="module")
def outlive(tmp_path_factory):
    """Run outlive from a copy of the harness that has the page's fault, in a directory with both programs."""
    root = tmp_path_factory.mktemp("harness")
    copy, home = root / "lib" / "outlive_harness", root / "home"
    shutil.copytree(ROOT / "harness" / copy.name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src" / "outlive", copy.parent / "outlive")
    (copy.parent / Path(FILE[1]).relative_to("harness")).write_text(FILE[2])
    table = copy.parent / Path(TABLE[1]).relative_to("harness")
    table.write_text(patched(table.read_text(), TABLE[2]))
    home.mkdir()
    (home / "bad.py").write_text(BAD)
    (home / "good.py").write_text(GOOD)
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}

    def run(*words):
        argv = [sys.executable, "-P", "-m", "outlive_harness", *words]
        return subprocess.run(
            argv, cwd=home, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    run.home = home
    return run


def check(outlive, program):
    """Check a program of the home by the new fault; return the JSON report's only scenario."""
    options = ["--faults", NAME, "--outputs", "out/*", "--json", "-"]
    done = outlive("check", *options, "--", sys.executable, program)
    try:
        (one,) = json.loads(done.stdout)["scenarios"]
    except ValueError:
        pytest.fail(done.stdout + done.stderr)
    return one


def test_the_file_is_short():
    """A fault fits into 60 lines."""
    assert FILE[2].count("\n") <= 60


def test_a_known_bad_pipeline_is_violated_and_its_line_is_blamed(outlive):
    """The op that failed is named, and the source line that made it; the replay id shows it again."""
    one = check(outlive, "bad.py")
    assert one["verdict"] == "violated"
    coverage = one["faults"][NAME]
    assert coverage["tested"] == coverage["points"] == 3  # mkdir, open, write
    kinds = {violation["kind"]: violation for violation in one["violations"]}
    assert kinds.keys() == {"torn-output", "diverged"}
    diverged = kinds["diverged"]
    assert (diverged["fault"], diverged["point"]) == (NAME, f"{NAME}@3")
    assert diverged["op"] == "write out/report.txt (4 bytes)"
    assert diverged["line"] == "bad.py:7"
    again = outlive("replay", diverged["replay"])
    assert again.returncode == 1, again.stdout + again.stderr
    assert f"{NAME}@3" in again.stdout


def test_a_known_good_pipeline_holds(outlive):
    """Each op that changes something was failed, and the pipeline recovered from each."""
    one = check(outlive, "good.py")
    assert (one["verdict"], one["violations"]) == ("held", [])
    coverage = one["faults"][NAME]
    assert coverage["tested"] == coverage["points"] == 4  # mkdir, open, write, rename


def test_scenarios_and_the_command_line_take_it(outlive):
    """A scenario declares it by its name, beside the others, and another name is refused with all of them."""
    source = SCENARIOS.replace("NAME", NAME).replace("BAD", repr(str(outlive.home / "bad.py")))
    (outlive.home / "several.py").write_text(source.replace("GOOD", repr(str(outlive.home / "good.py"))))
    done = outlive("test", "several.py", "--json", "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    scenarios = json.loads((outlive.home / "report.json").read_text())["scenarios"]
    assert {one["name"]: one["verdict"] for one in scenarios} == {"bad": "held", "good": "held"}
    assert {name for one in scenarios for name in one["faults"]} == {"kill", NAME}
    refused = outlive("check", "--faults", f"{NAME},none-such", "--", "true")
    assert refused.returncode == 2
    assert NAME in refused.stderr.partition("there are:")[2]
