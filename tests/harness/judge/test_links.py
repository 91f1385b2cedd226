"""What readers see through symbolic links is judged under the paths that they use."""

import pytest

from outlive_harness.disk.tree import Entry
from outlive_harness.judge.links import leading_out, targets, through
from outlive_harness.report.text import details
from outlive_harness.results.ops import Op
from outlive_harness.results.verdicts import Verdict

FILE, DIR = Entry("file", 0o644, 1, "d"), Entry("dir", 0o755, 0, "")
BOX = "\0{box}\0"


def tree(**entries):
    """Return a tree: paths with / for __, of a link its text."""
    return {
        path.replace("__", "/"): Entry("link", 0, 0, what) if isinstance(what, str) else what
        for path, what in entries.items()
    }


CASES = {
    "to a directory": (tree(current="rel1", rel1=DIR, rel1__a=FILE), {"current/a": "rel1/a"}),
    "to a file": (tree(current__a="../made", current=DIR, made=FILE), {"current/a": "made"}),
    "through another link": (
        tree(current="now", now="rel/1", rel=DIR, rel__1=DIR, rel__1__a=FILE),
        {"current/a": "rel/1/a"},
    ),
    "to a link in a directory": (
        tree(current="rel", rel=DIR, rel__a="../shared", shared=FILE),
        {"current/a": "shared"},
    ),
    "absolute": (tree(current=f"{BOX}/rel", rel=DIR, rel__a=FILE), {"current/a": "rel/a"}),
    "outside": (tree(current="/var/data", rel=DIR, rel__a=FILE), {}),
    "above": (tree(current="../rel", rel=DIR, rel__a=FILE), {}),
    "to nothing": (tree(current="gone"), {}),
    "in a circle": (tree(current="other", other="current"), {}),
    "to where it is": (tree(current=DIR, current__a=".", rel=FILE), {}),
    "to another output": (tree(current__a="b", current=DIR, current__b=FILE), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_link_leads_to_is_found(case):
    """Wherever a link leads inside the box, a reader's path is paired with the file's own."""
    given, expected = CASES[case]
    assert through(given, lambda path: path.startswith("current/")) == expected


def test_a_link_out_of_the_box_is_named():
    """Nobody judges what is there, so it is told."""
    given = tree(current="/var/data", up="../x", here="rel", rel=DIR)
    assert leading_out(given, lambda _path: True) == {"current": "/var/data", "up": "../x"}


def test_targets_are_those_of_any_time():
    """A link that is made, renamed, or there before leads to what is watched while it is written."""
    ops = [
        Op("symlink", "symlink", "a/t", "../rel"),
        Op("rename", "rename", "a/t", "t"),
        Op("open", "open", "x"),
    ]
    assert targets(tree(old="first"), ops, "/box") == {"first", "rel"}
    assert targets({}, [Op("symlink", "symlink", "a", "/box/rel/")], "/box") == {"rel"}


SWITCH = """
@scenario(outputs="current/**")
def switch():
    import shutil
    for n in ("1", "2"):
        if Path("current").is_symlink() and os.readlink("current") >= n:
            continue
        shutil.rmtree(n, ignore_errors=True)
        os.mkdir(n)
        {first}
        Path(n, "a").write_text("first " + n)
        with open(n + "/a", "a") as f:
            f.write(" and more")
        {last}
    """
FLIP = "Path('t').unlink(missing_ok=True); os.symlink(n, 't'); os.replace('t', 'current')"


def test_a_version_behind_a_link_is_judged(one):
    """A directory that is whole before a link is turned to it holds; one that is filled behind it is torn."""
    good = one(SWITCH.replace("{first}", "pass").replace("{last}", FLIP))
    assert good.verdict is Verdict.HELD, good
    bad = one(SWITCH.replace("{first}", FLIP).replace("{last}", "pass"))
    assert bad.verdict is Verdict.VIOLATED
    assert {(found.kind, found.path) for found in bad.violations} == {
        ("torn-output", "current/a"),
        ("diverged", "current/a"),
    }


@pytest.mark.parametrize("fault", ["kill", "torn", "power"])
def test_a_file_behind_a_link_is_judged_by_each_fault(one, fault):
    """The link stays as it is, and what it leads to is written in place."""
    result = one(
        """
@scenario(outputs="out/*")
def written():
    os.makedirs("out", exist_ok=True)
    if not os.path.islink("out/a"):
        os.symlink("../made", "out/a")
    Path("made").write_bytes(b"x" * 9000)
""",
        faults=(fault,),
    )
    assert ("torn-output", "out/a") in {(found.kind, found.path) for found in result.violations}


def test_an_output_that_leads_out_is_told(one, tmp_path):
    """What lies outside of the box is in no crash state: the verdict says that nobody looked there."""
    (tmp_path / "kept").write_text("x")
    result = one(f"""
@scenario(outputs="out/*")
def leads():
    put("out/b", "x")
    if not os.path.islink("out/a"):
        os.symlink({str(tmp_path / "kept")!r}, "out/a")
""")
    assert result.verdict is Verdict.HELD
    assert any("out/a (it leads to" in line and line.startswith("not judged: ") for line in details(result))
