"""Canaries: a harness with a broken part must fail the suite; one that never failed proves nothing.

Each canary replaces one function inside the worker processes (through a sitecustomize module that
acts in them alone, so the product needs no back door), runs scenarios that the sound harness judges
rightly, and demands that the run does not pass.
"""

import pytest

from outlive_harness.jobs.session import Session
from outlive_harness.results.verdicts import Exit

SUITE = """
@scenario(outputs="o", expect="torn-output")
def in_place():
    Path("o").write_text("x" * 100)

@scenario(outputs="o", expect="diverged")
def marker_first():
    if not Path("m").exists():
        Path("m").touch()
        put("o", "x")

@scenario(outputs="o", expect="recovery-failed")
def exclusive():
    os.close(os.open("t", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.replace("t", "o")

@scenario(outputs="o", expect="not-idempotent")
def counter():
    put("o", str(int(Path("o").read_text()) + 1 if Path("o").exists() else 1))

@scenario(outputs="o", expect=("recovery-failed", "torn-output"))
def each_in_a_state_of_its_own():
    os.close(os.open("t", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink("t")
    Path("o").write_text("x" * 100)

@scenario(outputs="o", expect="litter", litter="fail")
def leaves_things():
    put("o", "x")

@scenario(outputs="out/*", expect="torn-output")
def behind_a_link():
    os.makedirs("out", exist_ok=True)
    if not os.path.islink("out/a"):
        os.symlink("../made", "out/a")
    Path("made").write_text("x" * 100)

@scenario(outputs="o", expect="torn-output")
def from_another_file_system():
    import shutil, tempfile
    fd, name = tempfile.mkstemp()
    os.write(fd, b"x" * 100)
    os.close(fd)
    shutil.move(name, "o")

@scenario(outputs=("o", "report"), ignore="report", expect="torn-output")
def never_the_same_twice():
    import time
    put("o", "x")
    Path("report").write_text(f"{time.time_ns()}" * 9)

@scenario(outputs="o", read={"o": "json:-at"}, expect="torn-output")
def half_a_document():
    import json, time
    Path("o").write_text(json.dumps({"rows": [1] * 99, "at": time.time()}))

@scenario(outputs=("a", "b"), together="?", expect="torn-output")
def one_after_the_other():
    put("a", "x")
    put("b", "x")

@scenario(outputs="out/*")
def good():
    put("out/a", "a")
    put("out/b", "b")
"""

#: What is broken, and how: code that runs in each worker before anything else of ours.
BROKEN = {
    "the kill is not sent": """
        from outlive_harness.launch import run
        real = run.watch
        def watch(listener, leader, streams, decoder, visit, *more):
            go_on = lambda op, k: visit(op, k) and run.Answer()
            return real(listener, leader, streams, decoder, go_on, *more)
        run.watch = watch
        """,
    "the state is not looked at": """
        from outlive_harness.judge import trees
        trees.torn_outputs = lambda *args: []
        """,
    "the outputs are not compared": """
        from outlive_harness.judge import trees
        trees.differing = lambda *args: []
        """,
    "the recovery's exit status is not read": """
        from outlive_harness.launch.run import FinishedRun
        FinishedRun.failure = lambda self: ""
        """,
    "the second run's outputs are not compared": """
        from outlive_harness.golden import contents
        contents.first_difference = lambda *args: None
        """,
    "what is left over is not looked for": """
        from outlive_harness.judge import trees
        trees.surplus = lambda *args: []
        """,
    "the recovery is not run": """
        from outlive_harness.trial import trial
        trial._recover = lambda *args, **more: None
        """,
    "every state is taken for one that was seen": """
        from outlive_harness.trial import trial
        trial.first_to = lambda *args: False
        """,
    "all states are taken for one": """
        from outlive_harness.trial import trial
        trial.tree_digest = lambda *args: "one"
        """,
    "the box is not made anew": """
        from outlive_harness.world.box import Box
        Box.fill = lambda self, source, **more: self.path.mkdir(exist_ok=True)
        """,
    "renames are not seen": """
        from outlive_harness.intercept.decode import decoder
        decoder.CALLS.update(dict.fromkeys(("rename", "renameat", "renameat2"), lambda *args: None))
        """,
    "links are not followed": """
        from outlive_harness.judge import links
        links.through = lambda *args: {}
        """,
    "no file system is told from another": """
        from outlive_harness.intercept.decode import Decoder
        Decoder.crosses = lambda self, source, target: False
        """,
    "outputs that vary are not looked at": """
        from outlive_harness.golden import runs
        runs.learn_uncompared = lambda *args: None
        """,
    "all values are taken for one": """
        from outlive_harness.world.reading import Reading
        Reading._told = lambda *args: {"value": "one"}
        """,
    "sets are not judged": """
        from outlive_harness.trial import partial
        partial.mixed_sets = lambda *args: []
        """,
    "contents are not read": """
        from outlive_harness.disk import tree
        tree.digest_file = lambda *args, **more: "same"
        """,
}


def suite_status(explored):
    with Session(jobs=2) as session:
        return explored(SUITE, within=session).exit_status


def test_the_sound_harness_passes_the_suite(explored, sabotage):
    """The control: the same suite under the same detour, with nothing broken."""
    sabotage("pass")
    assert suite_status(explored) is Exit.HELD


@pytest.mark.parametrize("part", BROKEN)
def test_a_broken_harness_fails_the_suite(explored, sabotage, part):
    """With this part broken, a known-bad pipeline goes uncaught or a good one is called bad."""
    sabotage(BROKEN[part])
    assert suite_status(explored) is not Exit.HELD
