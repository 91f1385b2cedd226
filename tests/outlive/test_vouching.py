"""Markers that vouch for outputs, parameters and versions; and items of a step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from outlive import Checkpoints, mark_done, step_done

OUT = "out/clean.csv"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in an empty directory, with one output."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path(OUT).write_text("a,b\n" * 1000)
    return Checkpoints()


def later(path):
    """Set a file's time to just after now, as a write would a moment later."""
    status = Path(path).stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_a_marker_without_declarations_is_what_it_was(run):
    """Byte for byte, so that runs of earlier versions go on."""
    run.mark_done("clean")
    marker = Path(".checkpoints/clean.done")
    assert marker.read_bytes() == b'{"schema": 1, "run_id": "", "step": "clean"}\n'
    assert run.step_done("clean")
    assert run.why("clean") == "clean will not run: it is done"


def test_equal_runs_leave_equal_markers(run, tmp_path):
    """Nothing of time or place is in them."""
    run.mark_done("clean", outputs=[OUT], params={"b": [1], "a": None}, version="2")
    first = Path(".checkpoints/clean.done").read_bytes()
    os.utime(OUT, ns=(0, 0))
    run.mark_done("clean", outputs=[tmp_path / OUT], params={"a": None, "b": [1]}, version="2")
    assert Path(".checkpoints/clean.done").read_bytes() == first


@pytest.mark.parametrize("verify", ["stat", "hash"])
@pytest.mark.parametrize("named", [True, False])
def test_an_output_that_is_not_what_it_was_is_not_done(run, verify, named):
    """Missing, truncated, altered in place with the same size: whether or not it is named again."""
    wish = {"verify": verify} | ({"outputs": [OUT]} if named else {})
    run.mark_done("clean", outputs=[OUT])
    assert run.step_done("clean", **wish)
    Path(OUT).write_text("a,b\n" * 999 + "x,b\n")
    assert run.why("clean", **wish) == f"clean will run: its output {OUT} has another content"
    os.truncate(OUT, 10)
    assert run.why("clean", **wish).endswith("has 10 bytes and had 4000 when the step was marked")
    Path(OUT).unlink()
    assert run.why("clean", **wish) == f"clean will run: its output {OUT} is missing"
    Path(OUT).mkdir()
    assert run.why("clean", **wish).endswith("is a directory and was a file")
    assert not run.step_done("clean", **wish)


def test_an_output_that_was_only_touched_is_done(run):
    """A time that is later asks for the digest, and that decides."""
    run.mark_done("clean", outputs=OUT)
    later(OUT)
    assert run.step_done("clean", outputs=OUT)


def test_what_sets_times_back_is_seen_by_its_digest_alone(run):
    """As cp -p does; this is what verify="stat" cannot see, and says so."""
    run.mark_done("clean", outputs=OUT)
    Path(OUT).write_text("x,y\n" * 1000)
    os.utime(OUT, ns=(0, 0))
    assert run.step_done("clean", outputs=OUT)
    assert not run.step_done("clean", outputs=OUT, verify="hash")


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "b" / "1").write_text("2"),
        lambda top: (top / "b" / "2").write_text(""),
        lambda top: (top / "a").unlink(),
        lambda top: (top / "link").unlink() or (top / "link").symlink_to("b"),
        lambda top: (top / "a").rename(top / "c"),
    ],
)
def test_a_directory_is_an_output_with_all_that_is_below(run, tmp_path, change):
    """A content, a name, a link more or less makes it another."""
    top = tmp_path / "out" / "tree"
    (top / "b").mkdir(parents=True)
    (top / "a").write_text("")
    (top / "b" / "1").write_text("1")
    (top / "link").symlink_to("a")
    run.mark_done("parts", outputs=top)
    assert run.step_done("parts", outputs=top, verify="hash")
    assert run.step_done("parts")
    change(top)
    for path in (top, top / "b"):
        later(path)
    for verify in ("stat", "hash"):
        assert not run.step_done("parts", verify=verify)


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ({"params": {"limit": 3}}, {"params": {"limit": 4}}, "its parameter limit was 3 and is 4"),
        ({"params": {"limit": 3}}, {"params": {}}, "its parameter limit was 3 and is not given"),
        ({"params": {}}, {"params": {"x": None}}, "its parameter x was not given and is None"),
        ({}, {"params": {}}, "no parameters were put down when it was marked"),
        ({"version": "1"}, {"version": "2"}, "its version was '1' and is '2'"),
        ({}, {"version": "1"}, "its version was None and is '1'"),
        ({}, {"outputs": [OUT]}, f"its outputs were [] and are ['{OUT}']"),
        ({"outputs": [OUT]}, {"outputs": []}, f"its outputs were ['{OUT}'] and are []"),
        ({"params": {"x": "a" * 200}}, {"params": {"x": "a" * 199 + "b"}}, "its parameter x was"),
    ],
)
def test_what_is_declared_otherwise_is_another_step(run, then, now, why):
    """And the sentence says in what."""
    run.mark_done("clean", **then)
    assert not run.step_done("clean", **now)
    assert run.why("clean", **now).startswith(f"clean will run: {why}")


def test_what_is_not_asked_is_not_compared(run):
    """Parameters and version are the caller's to ask for."""
    run.mark_done("clean", params={"limit": 3}, version="7")
    assert run.step_done("clean")
    assert run.step_done("clean", params={"limit": 3})
    assert run.done() == ["clean"]


@pytest.mark.parametrize(
    ("marker", "why"),
    [
        (None, "it is not marked"),
        (b"", "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean"', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "x", "step": "clean"}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "more": 1}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "outputs": [1]}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "outputs": {"out": [1]}}\n', "its marker is damaged"),
        (
            b'{"schema": 2, "run_id": "", "step": "clean"}\n',
            "its marker was written by a newer version of outlive (schema 2)",
        ),
        ("directory", "a directory stands where its marker should be"),
    ],
)
def test_a_marker_that_is_none_is_never_taken_for_done(run, marker, why):
    """And why() says what stands there."""
    Path(".checkpoints").mkdir()
    place = Path(".checkpoints/clean.done")
    if marker == "directory":
        place.mkdir()
    elif marker is not None:
        place.write_bytes(marker)
    assert not run.step_done("clean")
    assert run.why("clean") == f"clean will run: {why}"


def test_the_functions_take_the_same(run):
    """Of the module, for those who need no object."""
    mark_done("clean", run_id="monday", outputs=OUT, params={"a": 1}, version="1")
    assert step_done("clean", run_id="monday", outputs=OUT, params={"a": 1}, version="1", verify="hash")
    assert not step_done("clean", run_id="monday", version="2")
    assert run.done() == []


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        ({"outputs": 3}, TypeError, r"^outputs=3 are no paths"),
        ({"outputs": [3]}, TypeError, r"^outputs=3 is not a path"),
        ({"outputs": [""]}, ValueError, r"^outputs='' is empty"),
        ({"params": [1]}, TypeError, r"^params=\[1\] is no mapping"),
        ({"params": {1: 1}}, TypeError, r"^params=\{1: 1\} is no mapping"),
        ({"params": {"a": print}}, TypeError, r"^params\['a'\]=<built-in function print> is nothing"),
        ({"params": {"a": float("nan")}}, TypeError, r"^params\['a'\]=nan is nothing"),
        ({"version": 2}, TypeError, r"^version=2 is not a string"),
    ],
)
def test_bad_arguments_are_named(run, wish, error, said):
    """By both functions; nothing is marked."""
    for call in (run.mark_done, run.step_done, run.why):
        with pytest.raises(error, match=said):
            call("clean", **wish)
    assert not Path(".checkpoints").exists()
    with pytest.raises(ValueError, match=r"^verify='x' is not one of"):
        run.step_done("clean", verify="x")


def test_what_is_not_there_cannot_be_vouched_for(run):
    """An output that is missing, or no file, is an error, and the step not marked."""
    os.mkfifo("out/pipe")
    for path in ("out/none", "out/pipe"):
        with pytest.raises(OSError, match=path):
            run.mark_done("clean", outputs=[OUT, path])
    assert not run.step_done("clean")


# -- items ---------------------------------------------------------------------------------------------


def test_an_item_is_done_when_the_next_is_asked_for(run):
    """A raise or a break leaves it pending; the last is done when the loop ends."""
    seen = []

    def fail_at_b():
        for item in run.todo("clean", ["a", "b", "c"]):
            seen.append(item)
            if item == "b":
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_b()
    for item in run.todo("clean", ["a", "b", "c"]):
        seen.append(item)
        if item == "c":
            break
    seen += run.todo("clean", ["a", "b", "c"])
    assert seen == ["a", "b", "b", "c", "c"]
    assert list(run.todo("clean", ["a", "b", "c", "d"])) == ["d"]


def test_items_are_not_steps(run):
    """Whatever the names; what is cleared is done again."""
    for name in ("a", "a.items", "clean", "clean.done", ""):
        assert list(run.todo(name, ["a", "clean", ""])) == ["a", "clean", ""]
    assert run.done() == []
    run.mark_done("clean")
    run.clear("clean")
    assert list(run.todo("clean", ["a", "clean", ""])) == ["a", "clean", ""]
    assert list(run.todo("a", ["a", "clean", ""])) == []
    run.clear()
    assert list(run.todo("a", ["a"])) == ["a"]
    monday = Checkpoints(run_id="monday")
    assert list(monday.todo("a", ["a"])) == ["a"]


def test_items_that_are_no_strings_have_a_key(run):
    """It names them; two of one name, and a name that is no string, are refused."""
    paths = [Path("in/b"), Path("in/a")]
    assert list(run.todo("clean", paths, key=lambda path: path.name)) == paths
    assert list(run.todo("clean", reversed(paths), key=lambda path: path.name)) == []
    with pytest.raises(ValueError, match=r"^items\[2\] has the name of items\[0\]: 'x'"):
        list(run.todo("other", ["x", "y", "x"]))
    with pytest.raises(TypeError, match=r"^items\[0\]=3 is not a string"):
        list(run.todo("other", [3]))
    with pytest.raises(TypeError, match=r"^key=3 is not a string"):
        list(run.todo("other", [3], key=lambda item: item))


def test_an_item_that_a_killed_process_was_at_is_pending(run, tmp_path):
    """SIGKILL in the body: what it had ended before is done, that one is not."""
    program = (
        "import os, signal, outlive\n"
        "for item in outlive.Checkpoints().todo('clean', 'abcdef'):\n"
        "    if item == 'd':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(run.todo("clean", "abcdef")) == ["d", "e", "f"]
