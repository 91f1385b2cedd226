"""The example of an ordinary pipeline: the lines that outlive prints lead its user to a true verdict."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ORDERS = Path(__file__).parents[1] / "docs" / "examples" / "orders"

for _library in ("pandas", "pyarrow", "yaml"):
    pytest.importorskip(_library, reason="the example is written with it")


@pytest.fixture
def project(tmp_path):
    """The user's project: a copy of the example."""
    return shutil.copytree(ORDERS, tmp_path / "orders", ignore=shutil.ignore_patterns("__pycache__"))


def check(project, *options):
    """Run `outlive check` on the pipeline; return its exit status and what it prints."""
    command = [sys.executable, "-m", "outlive_harness", "check", "-j", "2", *options, "--", sys.executable]
    done = subprocess.run(
        [*command, "pipeline.py"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "400"},
    )
    return done.returncode, done.stdout + done.stderr


def test_the_lines_lead_to_a_verdict_in_two_commands(project):
    """The first says what to copy; the second judges gzip, JSON, Parquet and SQLite by what they mean."""
    status, said = check(project)
    assert status == 3
    (option,) = re.findall(r"conf/pipeline.yaml is not in the box: (--input \.) copies it", said)
    status, said = check(project, *option.split(), "--points", "6")
    assert status == 0, said
    assert "1 held" in said
    (taken,) = re.findall(r"what was proposed is judged: (.*)", said)
    assert "--read out/orders.csv.gz=gzip+csv" in taken
    assert "--read out/report.json=json:-generated_at" in taken
    assert "--ignore etl.log" in taken


def test_a_bug_in_one_format_is_found(project):
    """With the report written in place, a crash shows half of it; nothing else is blamed."""
    store = project / "orders" / "store.py"
    text = store.read_text()
    written = "write_text(json.dumps(facts, indent=2))\n"
    careful = f"    with replacing(path) as temporary:\n        temporary.{written}"
    assert careful in text
    store.write_text(text.replace(careful, f"    path.{written}"))
    status, said = check(project, "--input", ".", "--fail-fast")
    assert status == 1, said
    assert re.findall(r"(\S+): (\S+) is visible half-written", said) == [("torn-output", "out/report.json")]
