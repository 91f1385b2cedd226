"""Programs that run the steps of a pipeline: what a crash leaves, and whether they recover."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SALES = "id,city,amount\n1,oslo,3\n2,lima,5\n3,rome,7\n"
BASH = """set -euo pipefail
mkdir -p out
grep -v ,lima, data/sales.csv > out/clean.csv
sort -r out/clean.csv > out/sorted.csv
"""
MAKEFILE = """out/sorted.csv: out/clean.csv
\tsort -r out/clean.csv > out/sorted.csv
out/clean.csv: data/sales.csv
\tmkdir -p out
\tgrep -v ,lima, data/sales.csv > out/clean.csv
"""
RENAMED = re.compile(r"> out/(\w+\.csv)")
DODO = """def task_sort():
    return {
        "file_dep": ["data/sales.csv"],
        "targets": ["sorted.csv"],
        "actions": ["sort -r data/sales.csv > sorted.csv"],
    }
"""
LUIGI = """import luigi
class Sort(luigi.Task):
    def output(self):
        return luigi.LocalTarget("out/sorted.csv")
    def run(self):
        with open("data/sales.csv") as source, self.output().open("w") as target:
            target.writelines(sorted(source))
"""
SNAKEFILE = """rule sort:
    input: "data/sales.csv"
    output: "out/sorted.csv"
    shell: "sort -r {input} > {output}"
"""
JUSTFILE = """sort:
    mkdir -p out
    sort -r data/sales.csv > out/sorted.csv
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that writes a project's files beside its data, and checks a command there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sales.csv").write_text(SALES)

    def check(files, *options):
        """Return the exit status of `outlive check`, kinds and paths of violations, and what it printed."""
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        report = tmp_path.parent / f"{tmp_path.name}.json"
        command = [sys.executable, "-m", "outlive_harness", "check", "--json", str(report), "--input", "."]
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
            env={**os.environ, "PYTHONPATH": "."},
        )
        (result,) = json.loads(report.read_text())["scenarios"]
        found = {(one["kind"], one["path"]) for one in result["violations"]}
        return done.returncode, found, done.stdout + done.stderr

    return check


def test_a_shell_script_recovers_though_it_writes_in_place(project):
    """Half a file is seen at a crash; declared as settled, all is right after the script ran again."""
    files = {"pipeline.sh": BASH}
    status, found, said = project(files, "--", "bash", "pipeline.sh")
    assert (status, found) == (1, {("torn-output", "out/clean.csv"), ("torn-output", "out/sorted.csv")}), said
    status, found, said = project(files, "--settled", "out/*", "--", "bash", "pipeline.sh")
    assert (status, found) == (0, set()), said


def test_make_takes_half_a_file_for_done_unless_it_was_renamed_into_place(project):
    """A target that a kill left behind is newer than its source: make never repairs it."""
    command = ("--settled", "out/*", "--", "make")
    status, found, said = project({"Makefile": MAKEFILE}, *command)
    assert (status, found) == (1, {("diverged", "out/clean.csv"), ("diverged", "out/sorted.csv")}), said
    renamed = RENAMED.sub(r"> out/.new && mv out/.new out/\1", MAKEFILE)
    status, found, said = project({"Makefile": renamed}, "--", "make")
    assert (status, found) == (0, set()), said


TOOLS = {
    "just": ({"justfile": JUSTFILE}, "--settled out/*", "just", set()),
    "doit": ({"dodo.py": DODO}, "--settled sorted.csv", "doit", set()),
    "luigi": ({"sales.py": LUIGI}, "", "luigi --module sales Sort --local-scheduler", set()),
    "snakemake": (
        {"Snakefile": SNAKEFILE},
        "--settled out/* --fail-fast --budget 3m",
        "snakemake --cores 1",
        {("recovery-failed", "")},
    ),
}


@pytest.mark.nightly
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_has_a_true_verdict_with_what_the_how_to_adds(project, tool):
    """Settled files are right after just and doit ran again; luigi renames; snakemake asks its user."""
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    files, options, command, expected = TOOLS[tool]
    status, found, said = project(files, *options.split(), "--", *command.split())
    assert (status, found) == (1 if expected else 0, expected), said


def test_the_how_to_names_each_tool_that_is_tested():
    """What is tested here is what the page says."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "orchestrators.md").read_text()
    for name in ("bash pipeline.sh", "make", *TOOLS):
        assert f"`{name}" in page, name
