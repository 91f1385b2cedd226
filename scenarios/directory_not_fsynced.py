"""An fsync of a file does not keep its name: the marker of a step can outlive the rename of its output."""

import os
from pathlib import Path

from outlive import mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="out/*", faults="power", expect="diverged")
def directory_not_fsynced() -> None:
    Path("out").mkdir(exist_ok=True)
    if step_done("report"):
        return
    with Path("out/.report.part").open("w") as part:
        part.write("a,b\n" * 2000)
        part.flush()
        os.fsync(part.fileno())
    Path("out/.report.part").replace("out/report.csv")
    # Here out/ is to be fsynced.
    mark_done("report")
