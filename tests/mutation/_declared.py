"""Steps that declare what they read, make and come after: run as `_declared.py DIRECTORY-OF-OUTLIVE`."""

import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import atomic_write, run_steps, step

NEW = "a new letter\n"


@step(inputs="out/copy", outputs="out/sent")
def send() -> None:
    atomic_write("out/sent", Path("out/copy").read_text() + "end\n")


@step(after="copy")
def count() -> None:
    atomic_write("out/count", str(len(Path("out/copy").read_text())))


@step(inputs="inbox/letter", outputs="out/copy")
def copy() -> None:
    atomic_write("out/copy", Path("inbox/letter").read_text())


if not Path("out/new").exists():
    run_steps([send, count, copy], report=str)
    atomic_write("inbox/letter", NEW)
    atomic_write("out/new", "")
run_steps([send, count, copy], report=str)
texts = {name: Path("out", name).read_text() for name in ("copy", "sent", "count")}
if texts != {"copy": NEW, "sent": f"{NEW}end\n", "count": str(len(NEW))}:
    sys.exit(f"not all that was made is of the new letter: {texts}")
