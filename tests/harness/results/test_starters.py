"""A program that only starts another one is looked through; one that does anything else is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness import scenario
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import NO_FILE
from outlive_harness.results.starters import Started, looked_through

PY = sys.executable
SEEN = "import os, sys; print([sys.argv[1:], os.environ.get('A'), os.environ.get('B'), os.getcwd()])"
#: Commands that are looked through; each is run both ways, and must print the same.
THROUGH = [
    ["sh", "-c", f"exec {PY} -c $CODE a 'b  c' d\"'e'\"f"],
    ["sh", "-c", f"{PY} -c $CODE -x --y=z ./p,q"],
    ["/bin/sh", "-ec", f"A=1 B='2 3' {PY} -c $CODE"],
    ["sh", "-c", f"  cd / && exec {PY} -c $CODE  "],
    ["sh", "-c", f"cd / && cd usr && A= {PY} -c $CODE"],
    ["sh", "-c", 'cd "$0" && exec "$@"', "/", PY, "-c", SEEN, "x y", "$(z)"],
    ["sh", "-c", '"$0" -c "$1" "$2"', PY, SEEN, "it's"],
    ["env", "A=1", "B=x=y", PY, "-c", SEEN, "C=3"],
    ["nice", "-n", "5", "env", "A=1", "sh", "-c", f"B=2 exec {PY} -c $CODE"],
    ["nice", PY, "-c", SEEN],
]
#: Commands that do more than to start a program, or of which that is not sure.
STAYS = [
    ["sh", "-c", text]
    for text in (
        "echo a", "exec", "sort in > out", "sort in; sort in", "sort in | sort", "sort $A", "sort *.csv",
        "sort ~/in", "sort `pwd`", "sort {a,b}", "sort a\nsort b", "sort in &", "(sort in)", "! sort in",
        "if sort in", "sort \\a", "true && sort in", "cd /nowhere && sort in", "cd sub && sort in",
        "cd / && cd", "sort in && sort in", "A=1", 'sort "$A"', 'sort "$1"', 'sort x"$@"', "sort 'a",
        "no-such-program a", "exec -a x sort", "sort in # a", "", "sort in && ", "'echo' a",
    )
] + [
    ["sh", "-lc", "sort in"], ["sh", "-c"], ["sh", "run.sh"], ["./sh", "-c", "sort in"], ["env"],
    ["env", "A=1"], ["env", "-i", "sort"], ["nice"], ["nice", "-5", "sort"], ["nohup", "sort"],
    ["python3", "-c", "sort in"],
]  # fmt: skip


@pytest.mark.parametrize("command", THROUGH)
def test_the_program_behind_it_does_the_same(command, tmp_path):
    """Its arguments, variables and directory are those that the shell itself gives it."""
    command = [word.replace("$CODE", f'"{SEEN}"') for word in command]
    found = looked_through(command, here=str(tmp_path))
    assert Path(found.argv[0]).name == Path(PY).name
    env = {name: value for name, value in os.environ.items() if name not in "AB"}

    def said(argv, cwd, env):
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    own = env | dict(one.split("=", 1) for one in found.env)
    assert said(found.argv, found.cwd or tmp_path, own) == said(command, tmp_path, env)


@pytest.mark.parametrize("command", STAYS)
def test_a_command_that_may_do_more_stays_as_it_is(command):
    """A pipe, a redirection, anything that a shell expands, its own words, and what is not found."""
    assert looked_through(command, here=None) == Started(tuple(command))


EXECS = """#!/bin/sh -e
# Starts it where its project is.
set -eu
export A=1 B='2 3'

cd "$(dirname "$0")"
cd .. && cd scripts
exec PY -c "$1" a "$2"
"""


@pytest.mark.parametrize("start", [["sh", "SCRIPT"], ["SCRIPT"], ["env", "C=1", "bash", "SCRIPT"]])
def test_a_script_that_only_execs_is_looked_through(start, tmp_path):
    """Its comments, variables and directories are understood; the script is a file that the run rests on."""
    script = tmp_path / "scripts" / "run.sh"
    script.parent.mkdir()
    script.write_text(EXECS.replace("PY", PY))
    script.chmod(0o755)
    command = [word.replace("SCRIPT", str(script)) for word in [*start, SEEN, "x y"]]
    found = looked_through(command, here=None)
    assert found.argv == (PY, "-c", SEEN, "a", "x y")
    assert found.env[-2:] == ("A=1", "B=2 3")
    assert (os.path.realpath(found.cwd), found.scripts) == (str(script.parent), (str(script),))
    others = [f"export A\nexec {PY}", f"export A=$B\nexec {PY}", f"{PY} -c 1", f"sleep 1\nexec {PY}", ""]
    for other in [*others, f"trap x 1\nexec {PY}", "exec no-such-program"]:
        script.write_text(f"#!/bin/sh\n{other}")
        assert looked_through(command, here=None).scripts == (), other


def test_a_run_is_that_of_the_program_behind(tmp_path):
    """Its variables come after the scenario's own; the shell's text is not made absolute, as before."""
    (tmp_path / "in.csv").touch()
    for command, argv, cwd in (
        (["sh", "-c", "A=2 exec sort in.csv"], ("sort", "in.csv"), None),
        (["env", "A=2", "sort", "in.csv"], ("sort", str(tmp_path / "in.csv")), None),
        (["sh", "-c", "A=2 sort in.csv -o {box}/out"], ("sort", "in.csv", "-o", "{box}/out"), str(tmp_path)),
        (["sh", "-c", "A=2 cd / && sort in.csv"], ("sh", "-c", "A=2 cd / && sort in.csv"), None),
        (["sh", "-c", "cd / && A=2 sort in.csv"], ("sort", "in.csv"), "/"),
        (["env", "A={box}", "sort"], ("sort",), str(tmp_path)),
    ):
        made = scenario(command=command, name="it", env={"A": "1"})
        made.file = str(tmp_path / NO_FILE)
        spec = run_spec_of(made)
        assert (spec.argv, spec.cwd) == (argv, cwd)
        assert spec.env[-1] in ("A=2", "A={box}") or argv == tuple(command)


def test_python_behind_a_shell_is_forked_from_a_zygote(one):
    """The trials of a program behind a shell that only execs it cost what its own trials cost."""
    result = one(f"""
        code = "import os\\nfor n in range(3): open('t', 'w').close(); os.replace('t', 'out')"
        it = scenario(command=["sh", "-c", 'exec "$0" -c "$1"', {PY!r}, code], outputs="out")
    """)
    assert (result.verdict, result.zygote, result.warnings) == ("held", True, [])
