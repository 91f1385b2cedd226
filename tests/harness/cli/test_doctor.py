"""The doctor: what this machine can do, tried and not guessed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness import cli
from outlive_harness.cli import machine as doctor
from outlive_harness.disk.realfs import KINDS, missing

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def facts():
    """The facts of this machine, by name."""
    return {fact.name: fact for fact in doctor.examine()}


def test_the_interception_is_really_tried(facts):
    """On a machine where the rest of these tests pass, a program's calls can be stopped."""
    assert facts["interception"].state is doctor.State.GOOD, facts
    assert {"signals", "wake-up"} <= set(facts)
    assert facts["wall clock"].state is doctor.State.GOOD, facts["wall clock"]


def test_every_part_of_the_extra_is_looked_for(facts):
    """Each distribution that the extra installs is named with its version, and the plugin is registered."""
    for name in ("click", "psutil", "rich", "pytest", "hypothesis", "pytest-xdist"):
        assert facts[name].state is doctor.State.GOOD
        assert facts[name].text[0].isdigit()
    assert facts["pytest plugin"].state is doctor.State.GOOD


def test_the_room_for_boxes_is_told(facts, tmp_path):
    """The directory, its file system and its room; one that is not there is no room at all."""
    assert " GiB free" in facts["boxes"].text
    nowhere = {fact.name: fact for fact in doctor.examine(tmp_path / "nowhere")}["boxes"]
    assert nowhere.state is doctor.State.MISSING
    assert nowhere.text.endswith("No such file or directory; choose a directory with --box-dir")


def test_real_file_systems_are_looked_for(facts):
    """Each can be had, or it is said what is missing."""
    for name in KINDS:
        fact = facts[f"real {name}"]
        assert (fact.state is doctor.State.GOOD) == (not missing(name))
        assert name in fact.text or "root" in fact.text or "loop" in fact.text


def test_facts_are_printed_for_people_and_for_machines(monkeypatch, capsys, tmp_path):
    """A line each, or a JSON list of the same; the exit status is 0 whatever the machine lacks."""
    several = [doctor.Fact("one", doctor.State.GOOD, "works"), doctor.Fact("two", doctor.State.MISSING, "no")]
    monkeypatch.setattr(doctor, "examine", lambda _box_dir: iter(several))
    assert cli.run(["doctor"]) == 0
    assert capsys.readouterr().out == "ok   one           works\nNO   two           no\n"
    assert cli.run(["doctor", "--json", str(tmp_path / "facts.json")]) == 0
    assert json.loads((tmp_path / "facts.json").read_text()) == [
        {"name": "one", "state": "ok", "text": "works"},
        {"name": "two", "state": "NO", "text": "no"},
    ]


def test_where_proc_is_not_mounted_the_doctor_goes_on(monkeypatch):
    """What cannot be found out is told as missing."""
    monkeypatch.setattr(doctor, "missing", lambda _name: Path("/no/proc").read_text())
    monkeypatch.setattr(doctor.os.path, "exists", lambda path: path != "/proc/self")
    facts = {fact.name: fact for fact in doctor.examine()}
    assert facts["real ext4"].text == "/no/proc: No such file or directory"
    assert facts["machine"].text.endswith("/proc is not mounted, and interception needs it")


def test_facts_that_cannot_be_written_are_told(monkeypatch, capsys):
    """A full disk is no fault of ours."""
    monkeypatch.setattr(doctor, "examine", lambda _box_dir: iter(()))
    assert cli.run(["doctor", "--json", "/dev/full"]) == 2
    assert "--json='/dev/full' cannot be written: No space left on device" in capsys.readouterr().err


def test_where_seccomp_is_refused_the_doctor_says_why_and_what_is_left():
    """The exact step and error, whose filter it may be, the fallback, and still status 0."""
    program = (
        "import errno, sys; sys.path.insert(0, sys.argv.pop(1)); from _observe import refuse_seccomp; "
        "refuse_seccomp(errno.EPERM); from outlive_harness.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, HERE, "doctor", "--json", "-"],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done
    said = {fact["name"]: fact for fact in json.loads(done.stdout)}["interception"]
    assert said["state"] == "NO"
    assert said["text"].startswith(
        "seccomp(SET_MODE_FILTER, NEW_LISTENER): Operation not permitted (this process is "
    )
    assert said["text"].endswith(
        "only the fault timer is left: it kills at random moments, and no scenario is held"
    )


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root may mount")
def test_the_type_of_a_file_system_is_found_at_any_path(tmp_path):
    """A space in the name of a mount point is escaped in /proc/self/mounts."""
    place = tmp_path / "a place"
    place.mkdir()
    code = "import sys; from pathlib import Path; from outlive_harness.cli import machine; "
    code += "print(machine._file_system(Path(sys.argv[1])))"
    script = 'mount -t ramfs none "$1" && exec "$2" -P -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", place, sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "ramfs\n", done.stderr
