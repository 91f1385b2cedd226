"""Steps that declare what they read, make and come after: none is skipped whose input is another by then."""

from pathlib import Path

from outlive import Checkpoints, atomic_write, run_steps, step
from outlive_harness import scenario


def letters() -> None:
    """What an earlier run left: all steps done, and then the letters were others."""
    Path("inbox").mkdir()
    Path("inbox/a").write_text("old\n")
    pipeline()
    Path("inbox/a").write_text("new letter\n")


@step(inputs="report", outputs="sent")
def send() -> None:
    atomic_write("sent", Path("report").read_text() + "end\n")


@step(after="report")
def count() -> None:
    atomic_write("count", str(len(Path("report").read_text())))


@step(inputs="inbox", outputs="report")
def report() -> None:
    atomic_write("report", "".join(path.read_text() for path in sorted(Path("inbox").iterdir())))


def pipeline() -> None:
    run_steps([send, count, report], checkpoints=Checkpoints(), report=str)


def nothing_is_stale() -> None:
    assert Path("report").read_text() == "new letter\n"
    assert Path("sent").read_text() == "new letter\nend\n"
    assert Path("count").read_text() == "11"


@scenario(
    outputs=("report", "sent", "count"),
    setup=letters,
    check=nothing_is_stale,
    faults=("kill", "torn", "full", "eio", "term", "power"),
    torn="bytes",
)
def library_steps() -> None:
    pipeline()
