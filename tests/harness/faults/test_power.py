"""Power loss: what was not synced may be gone, all or any part of it, and is told in words."""

import json
import os

import pytest

from outlive_harness.disk.power import PowerModel
from outlive_harness.explore.replay import replay
from outlive_harness.report.json_report import as_text
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import PlanError, Point, parse_plan, plan_text
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict
from outlive_harness.trial.recording import Recording

#: put() that leaves out what its arguments say.
SYNCED = """
def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)

def place(path, text, file=True, directory=True):
    path = Path(path)
    if not path.parent.is_dir():
        path.parent.mkdir()
        sync_directory(path.parent.parent)
    with open(path.with_name("." + path.name), "w") as f:
        f.write(text); f.flush()
        if file: os.fsync(f.fileno())
    os.replace(f.name, path)
    if directory: sync_directory(path.parent)
"""
STEPS = """
@scenario(outputs="out/*", faults=("kill", "torn", "power"))
def steps():
    for name in ("a", "b"):
        if not Path(f"done/{name}").exists():
            place(f"out/{name}", name * 5000, file=FILE, directory=DIRECTORY)
            place(f"done/{name}", "", file=True, directory=True)
"""


def steps(*, file, directory):
    return f"FILE, DIRECTORY = {file}, {directory}\n" + SYNCED + STEPS


def found(result):
    return {(violation.fault, violation.kind) for violation in result.violations}


def test_what_is_synced_holds(one):
    """Files and directories that are fsynced in order survive kill, torn and power."""
    result = one(steps(file=True, directory=True))
    assert result.verdict is Verdict.HELD, result
    assert all(coverage.tested == coverage.points > 0 for coverage in result.faults.values())
    assert result.faults["power"].profile == "posix"
    assert not result.faults["power"].reason


def test_a_rename_without_fsync_is_caught_by_power_alone(one):
    """SIGKILL keeps the page cache and cannot show it; a power cut leaves an empty or torn output."""
    result = one(steps(file=False, directory=True))
    assert {("power", "torn-output"), ("power", "diverged")} == found(result)
    torn = next(one for one in result.violations if one.kind == "torn-output")
    assert torn.profile.startswith("ext4")
    assert any("write out/.a (5000 bytes)" in lost for lost in torn.lost)
    assert torn.confirmed


def test_a_directory_that_is_not_synced_is_caught_but_not_on_ext4(one):
    """The name may be lost where the disk promises nothing; ext4's journal keeps the order of names."""
    source = steps(file=True, directory=False)
    result = one(source)
    assert {("power", "diverged")} == found(result)
    assert {violation.profile for violation in result.violations} <= {"posix", "btrfs"}
    assert one(source, profile="ext4").verdict is Verdict.HELD


def test_a_scenario_names_its_own_disk(one):
    """The keyword profile= stands for a scenario, an option for all."""
    source = steps(file=True, directory=False).replace('outputs="out/*"', 'outputs="out/*", profile="ext4"')
    assert one(source).verdict is Verdict.HELD
    assert one(source, profile="posix").verdict is Verdict.VIOLATED


@pytest.mark.parametrize("ignored", ["cache*", "c?che1", "cache1", "**/cache1"])
def test_what_is_below_an_ignored_directory_is_ignored(one, ignored):
    """A pattern that matches a directory means all below it, also for the model of the disk."""
    source = steps(file=True, directory=True).replace(
        'outputs="out/*"', f'outputs="out/*", ignore="{ignored}"'
    )
    source += "    os.makedirs('cache1', exist_ok=True)\n    Path('cache1/x').write_text('x')\n"
    result = one(source)
    assert result.verdict is Verdict.HELD, result


def test_the_same_seed_gives_the_same_points(one):
    """Exploration is deterministic: two sessions' runs find the same."""
    source = steps(file=False, directory=False)
    first, second = (one(source, faults=("power",), seed=3, points=30) for _ in range(2))
    assert first.faults == second.faults
    assert [one.point for one in first.violations] == [one.point for one in second.violations]


def test_a_promise_made_before_the_fsync_is_lost(one):
    """What was acknowledged before a power cut must hold after the recovery, by the op it came after."""
    source = (
        SYNCED
        + """
from outlive_harness import ack

def deliver():
    Path("inbox").mkdir()
    Path("inbox/a").write_text("payload")

@scenario(outputs="store/*", faults="power", setup=deliver)
def takes():
    letter = Path("inbox/a")
    if letter.exists():
        place("store/a", letter.read_text(), file=SYNC, directory=SYNC)
        ack("payload")
        letter.unlink()
        sync_directory("inbox")
"""
    )
    assert one("SYNC = True\n" + source).verdict is Verdict.HELD
    result = one("SYNC = False\n" + source)
    assert ("power", "lost-ack") in found(result)


def test_a_record_that_counts_by_its_last_byte_is_torn_by_power_alone(one):
    """Its first block is lost and its second is there, while the O_DSYNC write of both is under way."""
    source = """
@scenario(outputs="out", faults=("kill", "torn", "power"))
def logs():
    log = os.open("log", os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o644)
    if os.pread(log, 8192, 0)[8191:] != b"C":
        os.pwrite(log, b"d" * 8191 + b"C", 0)
    with open("t", "wb") as f:
        f.write(os.pread(log, 8192, 0)); f.flush(); os.fsync(f.fileno())
    os.rename("t", "out")
"""
    result = one(source)
    assert ("power", "diverged") in found(result)
    assert {found.fault for found in result.violations} == {"power"}


def test_what_was_promised_by_an_op_counts_once_it_has_returned(tmp_path):
    """A power cut within an op asks for what was acknowledged before it, one after it for all."""
    write = Op("write", "write", "a", length=1, flags=os.O_WRONLY | os.O_DSYNC, data=b"x")
    (tmp_path / "a").write_bytes(b"a")
    model = PowerModel(tmp_path, [write])
    tape = Recording(b"", tmp_path, [write], starts=[0], acks=["a", "x"], said=[1, 2])
    assert tape.promised(model.state(1, ["1"])) == ["a"]
    assert tape.promised(model.state(1)) == ["a", "x"]


def test_a_recovery_that_trusts_what_was_never_synced_is_caught_at_depth_2(one):
    """After a SIGKILL the files look finished; power lost during the recovery takes them away."""
    source = (
        SYNCED
        + """
@scenario(outputs="out/*", faults=("kill", "power"), depth=DEPTH)
def trusts():
    if not Path("done/a").exists():
        if not Path("out/a").exists():
            place("out/a", "a" * 5000, file=True, directory=True)
        place("done/a", "")
"""
    )
    shallow = one(source.replace("DEPTH", "1"))
    assert shallow.verdict is Verdict.HELD, shallow
    deep = one(source.replace("DEPTH", "2"))
    assert found(deep) == {("kill", "diverged")}
    assert all(one.point.startswith("kill@") and "+power@" in one.point for one in deep.violations)
    assert all(any(name.startswith("1/") for name in one.lost) for one in deep.violations)


@pytest.mark.parametrize("comes_back", [True, False])
def test_files_that_a_run_comes_back_to_are_not_all_on_the_disk_again(one, comes_back):
    """A file that was made and removed may be there again once power fails in the recovery."""
    source = (
        SYNCED
        + """
def deliver():
    for name in ("in", "out"):
        Path(name).mkdir()
    Path("in/job").write_text("value")

def touch(path):
    Path(path).touch()
    sync_directory(".")

@scenario(outputs="out/*", faults=("kill", "power"), depth=2, setup=deliver)
def validates():
    if Path("scratch").exists():
        if Path("out/v").exists():
            os.unlink("out/v")
            sync_directory("out")
        os.unlink("scratch")
        sync_directory(".")
    if not Path("in/job").exists():
        return
    if not Path("started").exists():
        touch("started")
        touch("scratch")
        if not COMES_BACK: Path("in/validated").touch()
        os.unlink("scratch")
        sync_directory(".")
    place("out/v", Path("in/job").read_text())
    os.unlink("in/job")
    sync_directory("in")
"""
    )
    result = one(source.replace("COMES_BACK", str(comes_back)))
    assert ("kill", "diverged") in found(result)
    assert any(violation.point.startswith("kill@") for violation in result.violations)


@pytest.mark.parametrize("first", ["torn", "power", "eio", "term", "full"])
def test_power_is_cut_in_the_recovery_from_every_fault(one, first):
    """What any fault left is where a recovery starts that loses power in its turn."""
    source = (
        SYNCED
        + """
@scenario(outputs="out/*", timeout=20)
def atomic():
    place("out/a", "a" * 5000)
"""
    )
    result = one(source, faults=(first, "power"), depth=2, points=40)
    assert result.verdict is Verdict.HELD, result
    assert all(coverage.tested == coverage.chosen > 0 for coverage in result.faults.values())


def test_a_failure_is_replayed_from_its_id(one, tmp_path, session):
    """The id alone says what was lost; carried out anew it gives the same finding."""
    result = one(steps(file=False, directory=True))
    (path,) = tmp_path.glob("scenarios_*.py")
    for violation in result.violations:
        _, trial = replay(session, load_file(path)[0], parse_plan(violation.point))
        assert violation.kind in {finding.kind for finding in trial.findings}
        assert trial.profile
        assert trial.lost == list(violation.lost)


def test_a_kill_after_a_power_cut_is_labelled_with_the_disk_of_that(one, tmp_path, session):
    """What a power cut left belongs to the run that it cut off, and not to the recovery that was killed."""
    one(
        """
@scenario(outputs="out", faults="kill", profile="ext4")
def repairs():
    out = Path("out")
    if Path("fixing").exists():
        sys.exit("a repair was interrupted")
    if out.exists() and out.read_bytes() != b"x" * 100:
        Path("fixing").mkdir()
        out.write_bytes(b"x" * 100)
        Path("fixing").rmdir()
    if not out.exists():
        for _ in range(4):
            Path("e").mkdir()
            Path("e").rmdir()
        Path("t").write_bytes(b"x" * 100)
        os.rename("t", out)
""",
        points=1,
    )
    (path,) = tmp_path.glob("scenarios_*.py")
    _, trial = replay(session, load_file(path)[0], parse_plan("power@11-10+kill@2"))
    assert "recovery-failed" in [finding.kind for finding in trial.findings]
    assert trial.profile == "ext4-ordered"


def test_a_label_is_that_of_all_ops_that_leave_the_same(one):
    """`b` alone is a state of `posix` when it is made, and one of a journal once `a` is gone again."""
    source = """
@scenario(outputs="out", faults="power")
def it():
    if os.path.exists("b") and not os.path.exists("a"):
        sys.exit("only b")
    if os.path.exists("out"):
        return
    open("a", "w").close()
    open("b", "w").close()
    os.unlink("a")
    os.rename("b", "out")
"""
    (violation,) = one(source).violations
    assert (violation.point, violation.profile) == ("power@2-1", "ext4-ordered")


def test_files_that_name_their_box_are_the_same_in_every_worker(one):
    """Contents and links with the box's own path in them are no difference, whoever lays them out."""
    source = (
        SYNCED
        + """
@scenario(outputs="out/*", faults="power")
def names():
    if os.path.lexists("out/.link"):
        os.unlink("out/.link")
    place("out/where", os.getcwd() * 3)
    if not os.path.lexists("out/link"):
        os.symlink(os.getcwd() + "/out/where", "out/.link")
        os.replace("out/.link", "out/link")
        sync_directory("out")
"""
    )
    result = one(source)
    assert result.verdict is Verdict.HELD, result


def test_a_promise_that_names_the_box_is_kept_in_every_worker(one):
    """What was acknowledged where the run was recorded is looked for with the path of whoever judges it."""
    source = (
        SYNCED
        + """
from outlive_harness import ack

@scenario(outputs="out/*", faults="power")
def says_where():
    for number in range(6):
        place(f"out/{number}", f"{os.getcwd()}/part-{number}\\n")
        ack(f"{os.getcwd()}/part-{number}")
"""
    )
    result = one(source)
    assert result.verdict is Verdict.HELD, result


def test_stores_through_memory_are_unknown(one):
    """A shared mapping that is written cannot be seen: power says so and does not hold."""
    source = """
@scenario(outputs="o", ignore=IGNORED, faults=("kill", "power"))
def mapped():
    import mmap
    with open("m", "w+b") as f:
        f.truncate(4096)
        with mmap.mmap(f.fileno(), 4096) as memory:
            memory[:4] = b"data"
    put("o", "x")
"""
    result = one(source.replace("IGNORED", "()"))
    assert result.verdict is Verdict.UNKNOWN
    assert "power: " in result.reason
    assert "m" in result.reason
    result = one(source.replace("IGNORED", '"m"'))
    assert "power: " not in result.reason


def test_an_unknown_profile_is_refused(one):
    """The message names those that there are."""
    with pytest.raises(ValueError, match=r"unknown profile 'zfs'; there are: .*posix.*ext4"):
        one(steps(file=True, directory=True), profile="zfs")
    with pytest.raises(ValueError, match=r"unknown profile 'zfs'"):
        one(steps(file=True, directory=True).replace('"out/*"', '"out/*", profile="zfs"'))


def test_data_past_the_bound_on_memory_goes_to_a_file(one):
    """A bound of nothing changes no result."""
    source = steps(file=False, directory=True)
    with_memory, without = (
        one(source, faults=("power",), memory=memory, points=30) for memory in (1 << 20, 0)
    )
    assert with_memory.faults == without.faults
    assert found(with_memory) == found(without)


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        ((), "power@31"),
        (("28", "30"), "power@31-28,30"),
        (("28.1",), "power@31-28.1"),
        (("3", "4", "5", "7", "8"), "power@31-3..5,7,8"),
        (("1/3", "1/4", "1/5", "2/6", "7"), "power@31-1/3..5,2/6,7"),
        (("3", "4.1", "5", "6", "7"), "power@31-3,4.1,5..7"),
    ],
)
def test_what_was_lost_is_written_and_read(lost, text):
    """A plan's text and its lost ops are one another's inverse; runs of ops are ranges."""
    plan = (Point("kill", 2), Point("power", 31, lost=lost))
    assert plan_text(plan) == f"kill@2+{text}"
    assert parse_plan(plan_text(plan)) == plan


@pytest.mark.parametrize(
    "text", ["power@3-", "power@3-x", "power@3-5..4", "power@3-1..9999999", "power@3.1-2"]
)
def test_what_is_no_list_of_lost_ops_is_refused(text):
    """Nothing is guessed."""
    with pytest.raises(PlanError, match="power@3"):
        parse_plan(text)


def test_a_power_cut_that_cannot_be_is_said_to_be_none(one, tmp_path, session):
    """An id whose ops do not exist, or were durable, is unknown and says why."""
    one(steps(file=True, directory=True), faults=("kill",))
    (path,) = tmp_path.glob("scenarios_*.py")
    for text, why in (("power@9999", "only"), ("power@20-3", "durable"), ("power@5-3.77", "no part")):
        _, trial = replay(session, load_file(path)[0], parse_plan(text))
        assert why in trial.trouble


def test_reports_say_what_was_lost(explored):
    """The JSON report has the profile of each violation, and what was lost in its message."""
    data = json.loads(as_text(explored(steps(file=False, directory=True))))
    for violation in data["scenarios"][0]["violations"]:
        assert violation["profile"]
        assert "; lost: " in violation["message"]
