"""A pipeline may repair, say so with its exit status, and expect a supervisor to start it once more."""

import shutil
import sys
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

EX_TEMPFAIL = 75


@scenario(outputs="report.txt", restarts=2)
def restart_after_repair() -> None:
    scratch = Path("scratch")
    if scratch.exists():
        print("scratch is left of a run that was killed: removed", file=sys.stderr)
        shutil.rmtree(scratch)
        sys.exit(EX_TEMPFAIL)
    scratch.mkdir()
    (scratch / "numbers.txt").write_text("\n".join(map(str, range(100))))
    total = sum(int(number) for number in (scratch / "numbers.txt").read_text().split())
    atomic_write("report.txt", f"{total}\n")
    shutil.rmtree(scratch)
