"""Containers: what their default profiles refuse changes no verdict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROFILES = Path(__file__).with_name("_profiles.py")
#: Each way to a file's bytes, and what is wrong with some: out in place, and a short count that is ignored.
PIPELINE = """
import os
import sys

scratch = open("scratch", "w+b", buffering=0)
os.unlink("scratch")
scratch.write(b"s" * 5000)
if not os.path.exists("sealed"):
    sealed = os.open("sealed.tmp", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o444)
    os.write(sealed, b"r" * 5000)
    os.rename("sealed.tmp", "sealed")
with open("out", "wb", buffering=0) as out:
    out.write(b"a" * 5000)
    out.write(b"b" * 5000)
    os.pwrite(out.fileno(), b"c" * 5000, 3000)
with open("out", "ab", buffering=0) as out:
    out.write(b"d" * 5000)
part = os.open("part", os.O_CREAT | os.O_TRUNC | os.O_RDWR)
with open("out", "rb") as out:
    os.sendfile(part, out.fileno(), 0, 9000)
if "--pipe" in sys.argv:  # of which a power cut cannot be told
    r, w = os.pipe()
    os.write(w, b"e" * 5000)
    os.splice(r, part, 5000, offset_dst=9000)
os.rename("part", "copy")
"""
CHECK = ["-m", "outlive_harness", "check", "--explain", "none", "--json", "-", "--profile", "ext4"]
CHECK += [f"--outputs={name}" for name in ("out", "copy", "sealed")]
#: What is struck: writes are really torn where no recording stands in for them.
RUNS = ("--faults torn,full --no-zygote -- {} --pipe", "--faults kill,power -- {}")


def checked(place, profile=None):
    """Return what is said of the pipeline, but for how long it took: with a profile, as in a container."""
    (place / "pipeline.py").write_text(PIPELINE)
    several = []
    for run in RUNS:
        argv = [sys.executable, *CHECK, *run.format(f"{sys.executable} pipeline.py").split()]
        argv = [sys.executable, str(PROFILES), profile, *argv] if profile else argv
        done = subprocess.run(argv, capture_output=True, text=True, cwd=place, timeout=300, check=False)
        assert done.returncode == 1, done.stderr + done.stdout
        several += json.loads(done.stdout)["scenarios"]
    return several


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What is said where nothing is refused."""
    return checked(tmp_path_factory.mktemp("outside"))


@pytest.mark.parametrize("profile", ["docker", "podman"])
def test_a_container_comes_to_the_same_verdict(profile, outside, tmp_path):
    """Kills, torn writes, full disks and power cuts: the same points, states and violations as outside."""
    struck = {fault: of["tested"] for one in outside for fault, of in one["faults"].items()}
    assert struck["torn"] == 9
    assert struck.keys() == {"torn", "full", "kill", "power"}
    assert checked(tmp_path, profile) == outside


def test_the_doctor_says_how_a_write_is_torn_in_a_container(tmp_path):
    """Docker refuses pidfd_getfd: that is said, and that a part of a write arrives all the same."""
    ways = {"docker": "by /proc, since [Errno 1] pidfd_getfd", "podman": "by pidfd_getfd"}
    for profile, way in ways.items():
        argv = [
            sys.executable,
            PROFILES,
            profile,
            sys.executable,
            "-m",
            "outlive_harness",
            "doctor",
            "--json",
            "-",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True)
        facts = {fact["name"]: fact for fact in json.loads(done.stdout)}
        assert facts["interception"]["state"] == facts["torn writes"]["state"] == "ok"
        assert way in facts["torn writes"]["text"]
