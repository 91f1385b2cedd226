"""What a command names is the user's: it is read where it is, and never changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness.disk.mounts import below, detach
from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.verdicts import Verdict

REFUSED = "was not allowed to change"


def check(place, *command, options=("--outputs", "log")):
    """Run ``outlive check`` on a command; return its status and what it said."""
    argv = [sys.executable, "-P", "-m", "outlive_harness", "check", "-j", "1", *options, "--", *command]
    done = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


WAYS = {
    "truncated": "open(sys.argv[1], 'w').write('x')",
    "replaced": "open('t', 'w').write('x'); os.rename('t', sys.argv[1])",
    "removed": "os.unlink(sys.argv[1])",
    "renamed away": "os.rename(sys.argv[1], sys.argv[1] + '.old')",
    "given another mode": "os.chmod(sys.argv[1], 0)",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_an_argument_names_is_not_changed(tmp_path, way):
    """The call fails, as on a disk that may only be read, and the verdict says which file it was."""
    given, program = tmp_path / "given", tmp_path / "program.py"
    given.write_text("the user's")
    program.write_text(
        f"import os, sys\ntry:\n    {WAYS[way]}\nexcept OSError:\n    pass\nopen('log', 'w').write('x')\n"
    )
    before = given.stat()
    status, said = check(
        tmp_path, sys.executable, "program.py", "given", options=("--outputs", "log", "--json", "-")
    )
    assert status == 3, said
    assert REFUSED in said
    assert str(given) in said
    after = given.stat()
    assert (given.read_text(), after.st_mode, after.st_ino) == ("the user's", before.st_mode, before.st_ino)


@pytest.mark.parametrize("how", ["a link", "absolute", "an option, absolute"])
def test_a_file_that_is_named_in_any_way_is_not_changed(tmp_path, how):
    """Neither is a link of the user's replaced, nor a file that is named by its whole path."""
    real, link, program = tmp_path / "real", tmp_path / "link", tmp_path / "program.py"
    real.write_text("the user's")
    link.symlink_to("real")
    program.write_text(
        "import os, sys\ngiven = sys.argv[1].partition('=')[2] or sys.argv[1]\nopen('t', 'w').write('x')\n"
        "try:\n    os.replace('t', given)\nexcept OSError:\n    pass\nopen('log', 'w').write('x')\n"
    )
    given = {"a link": "link", "absolute": str(real), "an option, absolute": f"--to={real}"}[how]
    status, said = check(tmp_path, sys.executable, "program.py", given)
    assert status == 3, said
    assert REFUSED in said
    assert link.is_symlink()
    assert real.read_text() == "the user's"


def test_a_file_that_an_argument_names_is_read(tmp_path):
    """A script and its input are found where the user has them."""
    (tmp_path / "given").write_text("the user's")
    program = "import os, sys; open('t', 'w').write(open(sys.argv[1]).read()); os.rename('t', 'log')"
    (tmp_path / "program.py").write_text(program)
    status, said = check(tmp_path, sys.executable, "program.py", "given")
    assert status == 0, said


def test_the_working_directory_is_what_the_environment_says(tmp_path):
    """With {box} in a command it runs where the user is, and PWD says so."""
    (tmp_path / "source").write_text("x")
    status, said = check(tmp_path, "sh", "-c", 'cat "$PWD/source" > {box}/t; mv {box}/t {box}/log')
    assert status == 0, said


def test_a_line_without_an_end_is_no_burden(one):
    """A body may print megabytes with no newline, and is none the slower for what might be acknowledged."""
    source = """
@scenario(outputs="out")
def it():
    for _ in range(40):
        os.write(1, b"x" * (1 << 20))
    put("out", "x")
"""
    assert one(source, points=2).verdict is Verdict.HELD


def test_a_group_that_takes_no_part_acknowledges_nothing(one):
    """An optional group of the pattern that is not there is no value."""
    source = """
made = scenario(
    command=["sh", "-c", "echo stored; echo id 7 stored; echo 7 > t; mv t out"],
    outputs="out",
    acks="(?:id ([0-9]+) )?stored",
)
"""
    assert one(source, faults=("kill",)).verdict is Verdict.HELD


MOUNTED = """
import os, subprocess, sys
subprocess.run(["mount", "--bind", sys.argv[1], "{where}"], check=True)
open("part", "w").write("x")
os.rename("part", "log")
{then}
"""


@pytest.fixture
def precious(tmp_path):
    """A directory of the user's with a file, and no mount left of it."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "precious"
    place.mkdir(0o755)
    (place / "file").write_text("the user's")
    yield place
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    "then", ["sys.exit(32)", "", "import time; time.sleep(60)", "subprocess.run(['umount', 'in the box'])"]
)
def test_what_a_run_mounts_in_its_box_is_not_removed(precious, then):
    """However the run ends, it is unmounted, never walked through, and the verdict says so."""
    place = precious.parent
    (place / "in" / "in the box").mkdir(parents=True)
    (place / "program.py").write_text(MOUNTED.format(where="in the box", then=then))
    options = ("--outputs", "log", "--input", "in", "--timeout", "2", "--faults", "kill")
    status, said = check(place, sys.executable, "program.py", str(precious), options=options)
    assert status == 3, said
    mounted = "it changed what its paths mean (mount)"
    assert (mounted if "umount" in then else "left something mounted in its box, at in the box") in said
    assert (precious / "file").read_text() == "the user's"
    assert precious.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("where", [".", ".."])
def test_what_a_run_mounts_on_its_box_is_not_removed(precious, where):
    """Neither is what hides the box itself, or the directory that it is in."""
    (precious.parent / "program.py").write_text(MOUNTED.format(where=where, then=""))
    options = ("--outputs", "log", "--faults", "kill")
    status, said = check(precious.parent, sys.executable, "program.py", str(precious), options=options)
    assert status == 3, said
    assert f"left something mounted in its box, at {where}" in said
    assert (precious / "file").read_text() == "the user's"


def test_mounts_are_known_as_they_come_and_go(precious):
    """They are listed anew where the kernel says that they changed, in a process that was forked, too."""
    tree = precious.parent / "tree"
    tree.mkdir()
    assert below(tree) == []
    for _ in range(2):
        subprocess.run(["mount", "--bind", precious, tree], check=True)
        try:
            child = os.fork()
            if not child:
                os._exit(len(below(tree)))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            assert [one.point for one in below(tree)] == [str(tree)]
            assert detach(tree, below(tree)) == []
        finally:
            assert detach(tree) == [str(tree)]
        assert below(tree) == []


def test_no_tree_is_removed_that_something_is_mounted_in(precious):
    """Whatever else goes wrong: nothing of such a tree is touched, and the error says where it is."""
    tree = precious.parent / "a tree"
    (tree / "mount\tpoint").mkdir(parents=True)
    (tree / "beside").touch()
    subprocess.run(["mount", "--bind", precious, tree / "mount\tpoint"], check=True)
    try:
        with pytest.raises(OSError, match="a file system is mounted there"):
            remove_tree(tree)
        assert (tree / "beside").exists()
    finally:
        assert detach(tree) == [str(tree / "mount\tpoint")]
    remove_tree(tree)
    assert not tree.exists()
    assert (precious / "file").exists()


BESIDE_ITSELF = """
import pathlib, sys
base = pathlib.Path(__file__).parent
(base / "out").mkdir(exist_ok=True)
(base / "out" / "clean").write_text((base / "raw").read_text().upper())
(pathlib.Path.home() / ".tool").mkdir(exist_ok=True)
"""


@pytest.mark.parametrize(
    ("where", "options", "argument"),
    [
        (".", ("--input", "."), "program.py"),
        (".", ("--input", ".", "--no-zygote"), "./program.py"),
        ("sub", ("--input", ".."), "../program.py"),
        ("..", ("--input", "project"), "project/program.py"),
    ],
)
def test_a_program_in_the_input_is_run_as_its_copy(tmp_path, where, options, argument):
    """What it writes beside its own file is in the box, is judged there, and the user's directory stays."""
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / "program.py").write_text(BESIDE_ITSELF)
    (project / "raw").write_text("x" * 100)
    options = (*options, "--explain", "none")
    status, said = check(project / where, sys.executable, argument, options=options)
    assert status == 1, said
    assert "torn-output: out/clean" in said
    assert not (project / "out").exists()


def test_a_program_that_is_executed_from_the_input_is_the_copy(tmp_path):
    """A script that is run by its path is the copy's, too, and so is a file that an option names."""
    script = tmp_path / "program.sh"
    script.write_text('#!/bin/sh\nd=$(dirname "$0"); cat "${1#--in=}" > "$d/t"; mv "$d/t" "$d/out"\n')
    script.chmod(0o755)
    (tmp_path / "raw").write_text("x")
    status, said = check(tmp_path, "./program.sh", "--in=raw", options=("--input", ".", "--outputs", "out"))
    assert status == 0, said
    assert not (tmp_path / "out").exists()


def test_a_program_that_writes_where_the_user_stands_is_unknown(tmp_path):
    """Without a copy its files are the user's own: no crash state can hold them, so nothing was tested."""
    (tmp_path / "program.py").write_text(BESIDE_ITSELF)
    (tmp_path / "raw").write_text("x")
    status, said = check(tmp_path, sys.executable, "program.py", options=())
    assert status == 3, said
    assert f"into {tmp_path}, a directory of yours" in said
    assert "--input DIR" in said


def test_a_run_that_changes_no_output_is_unknown(tmp_path):
    """Caches in HOME and temporary files are no outputs: with nothing else made, nothing is held."""
    program = "import os, tempfile; tempfile.mkstemp(); open(os.environ['HOME'] + '/x', 'w').close()"
    (tmp_path / "given").write_text("x")
    status, said = check(tmp_path, sys.executable, "-c", program, options=("--input", "."))
    assert status == 3, said
    assert "it makes and changes no output" in said
