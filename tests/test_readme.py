"""The README: its examples run, and do what it says of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from outlive import Checkpoints

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(marker):
    """Return the Python example that contains a text."""
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if marker in code]
    return found


def outlive(where, *arguments):
    command = [sys.executable, "-m", "outlive_harness", *arguments]
    env = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        command, cwd=where, capture_output=True, text=True, check=False, timeout=120, env=env
    )


def test_the_pipeline_of_the_readme_holds_and_skips_on_its_second_pass(tmp_path):
    """The example that people copy survives SIGKILL before every op, and runs no step twice."""
    (tmp_path / "pipeline.py").write_text(block("run_steps([clean"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw.csv").write_text("city,c\nOslo,3\nRome,\nLima,19\n")
    done = outlive(
        tmp_path, "check", "--input", "data", "--outputs", "out/**", "--", sys.executable, "pipeline.py"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = [sys.executable, "../pipeline.py"]
    passes = [
        subprocess.run(run, cwd=tmp_path / "data", capture_output=True, text=True, check=True).stdout
        for _ in "12"
    ]
    assert passes == [
        "ran clean\nran report\n",
        "skipped clean (already done)\nskipped report (already done)\n",
    ]
    assert (tmp_path / "data/out/report.txt").read_text() == "2 rows\n"


def test_an_output_that_was_truncated_is_made_again(tmp_path):
    """The example with items, killed at every op, holds; run again it does what is missing."""
    pytest.importorskip("tenacity", reason="needs tenacity: pip install 'outlive[retry]'")
    needs = (
        "from pathlib import Path\n"
        "def download(city):\n    print('fetch', city)\n    return f'{city},1\\n' * 100\n"
        "def join(path):\n    print('join')\n"
        "    cities = ('oslo', 'rome', 'lima')\n"
        "    atomic_write(path, ''.join(Path(f'{city}.csv').read_text() for city in cities))\n"
    )
    (tmp_path / "pipeline.py").write_text(needs + block("run_lock(run_id"))
    done = outlive(tmp_path, "check", "--outputs", "*.csv", "--", sys.executable, "pipeline.py")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "run").mkdir()

    def again():
        command = [sys.executable, "../pipeline.py"]
        return subprocess.run(
            command, cwd=tmp_path / "run", capture_output=True, text=True, check=True
        ).stdout

    assert again() == "fetch oslo\nfetch rome\nfetch lima\njoin\n"
    assert again() == ""
    os.truncate(tmp_path / "run" / "all.csv", 10)
    run = Checkpoints(tmp_path / "run" / ".checkpoints", run_id="2026-11-24")
    assert run.why("join").endswith("all.csv has 10 bytes and had 2100 when the step was marked")
    assert again() == "join\n"
    assert (tmp_path / "run" / "all.csv").stat().st_size == 2100


def test_the_scenario_of_the_readme_is_caught(tmp_path):
    """The ten-line scenario is known bad, and the harness finds it so."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "report.py").write_text(block("def report_in_place"))
    done = outlive(tmp_path, "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "caught torn-output" in done.stdout


def test_a_script_that_writes_in_place_is_violated_and_its_repair_holds(tmp_path):
    """What the README shows: exit 1 with torn-output, and exit 0 through atomic_write."""
    bad = "import os\nos.makedirs('out', exist_ok=True)\nopen('out/report.csv', 'w').write('a,b\\n' * 1000)\n"
    good = bad.replace(
        "open('out/report.csv', 'w').write(", "import outlive\noutlive.atomic_write('out/report.csv', "
    )
    (tmp_path / "pipeline.py").write_text(bad)
    done = outlive(tmp_path, "check", "--outputs", "out/**", "--", sys.executable, "pipeline.py")
    assert done.returncode == 1
    assert "torn-output: out/report.csv is visible half-written" in done.stdout
    (tmp_path / "pipeline.py").write_text(good)
    done = outlive(tmp_path, "check", "--outputs", "out/**", "--", sys.executable, "pipeline.py")
    assert done.returncode == 0, done.stdout + done.stderr
