"""``python benchmarks/library_steps.py``: what runners of steps do after a crash; writes library_steps.md.

Each cell was tried here and now: a pipeline of three steps, written for each tool as its documentation shows
it, in a process of its own. Needs luigi, doit and joblib where they are to be compared with, and strace(1).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from library_marks import installed

HERE = Path(__file__).parent
#: What all of them do in a step: log that it runs, perhaps die, and write its output.
WORK = """
import os, signal, sys
from pathlib import Path

def work(name, text):
    with open("log", "a") as log:
        log.write(name + "\\n")
    if os.environ.get("KILL") == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAIL") == name:
        Path(name).write_text(text[:2])
        raise RuntimeError("half-way through its output")
    return text

os.chdir(sys.argv[1])
"""
PIPELINES = {
    "outlive": """
from outlive import atomic_write, run_steps, step

def made(name):
    @step(name=name, outputs=name)
    def run():
        atomic_write(name, work(name, name * 3))
    return run

run_steps([made("one"), made("two"), made("three")])
""",
    "luigi": """
import luigi

class Step(luigi.Task):
    name = luigi.Parameter()
    after = {"two": "one", "three": "two"}

    def requires(self):
        return [Step(name=self.after[self.name])] if self.name in self.after else []

    def output(self):
        return luigi.LocalTarget(self.name)

    def run(self):
        with self.output().open("w") as file:
            file.write(work(self.name, self.name * 3))

if __name__ == "__main__":
    sys.exit(not luigi.build([Step(name="three")], local_scheduler=True, log_level="CRITICAL"))
""",
    "doit": """
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.tools import run_once

def write(name):
    Path(name).write_text(work(name, name * 3))

def task_steps():
    for name in ("one", "two", "three"):
        yield {"name": name, "actions": [(write, [name])], "targets": [name], "uptodate": [run_once]}

sys.exit(DoitMain(ModuleTaskLoader(globals())).run(["run", "-v0"]))
""",
    "joblib": """
from joblib import Memory

@Memory("cache", verbose=0).cache
def write(name):
    Path(name).write_text(work(name, name * 3))

for name in ("one", "two", "three"):
    write(name)
""",
}
Check = Callable[[str, Path], str]


def run(tool: str, folder: Path, prefix: tuple[str, ...] = (), **environment: str) -> list[str]:
    """Run a tool's pipeline in a folder; return which steps ran."""
    program = folder.parent / f"pipeline_of_{tool}.py"
    program.write_text(WORK + PIPELINES[tool])
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    log.write_text("")
    command = [*prefix, sys.executable, str(program), str(folder)]
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)
    return log.read_text().split()


def truncated(tool: str, folder: Path) -> str:
    """Truncate the first step's output after a run that went well."""
    first = run(tool, folder)
    if first != ["one", "two", "three"]:
        raise AssertionError(f"{tool} ran {first}")
    os.truncate(folder / "one", 1)
    again = run(tool, folder)
    whole = (folder / "one").read_text() == "one" * 3
    return "made again" if whole and "one" in again else "not noticed"


def killed(tool: str, folder: Path) -> str:
    """Kill the pipeline in its last step."""
    run(tool, folder, KILL="three")
    again = run(tool, folder)
    lost = len(again) - 1
    return "none" if again == ["three"] else f"{lost} of 2" if again[-1:] == ["three"] else f"ran {again}"


def half_written(tool: str, folder: Path) -> str:
    """Let a step write half of its output in place, and fail."""
    run(tool, folder, FAIL="two")
    run(tool, folder)
    whole = (folder / "two").read_text() == "two" * 3
    return "no: it runs again" if whole else "yes"


def synced(tool: str, folder: Path) -> str:
    """Look whether an output is fsynced, and before what is kept of its step."""
    if shutil.which("strace") is None:
        return "unknown"
    log = folder.parent / f"{tool}.strace"
    run(tool, folder, ("strace", "-f", "-y", "-o", str(log), "-e", "trace=fsync,fdatasync"))
    calls = re.findall(r"sync\(\d+<([^>]*)>", log.read_text())
    outputs = [path for path in calls if re.search(r"/\.?(one|two|three)\b", path)]
    return "each output" if len(outputs) >= 3 else "only the marks" if calls else "nothing"


CHECKS: dict[str, Check] = {
    "an output truncated after the run, on the next one": truncated,
    "finished steps that run again after a SIGKILL in the third": killed,
    "a step that wrote half of its output in place, and failed, counts as done": half_written,
    "what is fsynced": synced,
}


def main() -> None:
    """Try, print, and write library_steps.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "library_steps.md")
    given = parser.parse_args()
    found = [tool for tool in PIPELINES if tool == "outlive" or installed(tool)]
    versions = ", ".join(f"{tool} {installed(tool)}".strip() for tool in found)
    text = (
        f"# Steps after a crash\n\n{time.strftime('%Y-%m-%d')}: {versions}.\n\n"
        "`python benchmarks/library_steps.py` writes this page: a pipeline of three steps for each tool,\n"
        "as its documentation shows it.\n\n"
        f"| | {' | '.join(found)} |\n|---|{'---|' * len(found)}\n"
    )
    for title, check in CHECKS.items():
        cells = []
        for tool in found:
            with tempfile.TemporaryDirectory() as place:
                cells.append(check(tool, Path(place, "box")))
        line = f"| {title} | {' | '.join(cells)} |\n"
        sys.stdout.write(line)
        text += line
    given.out.write_text(text)
    sys.stdout.write(f"written: {given.out}\n")


if __name__ == "__main__":
    main()
