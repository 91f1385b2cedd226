"""On ext4 the fsync of a new file brings all earlier names to the disk: no marker outlives its output."""

import os
from pathlib import Path

from outlive import mark_done, step_done
from outlive_harness import scenario


# The pipeline of directory_not_fsynced.py: right on one file system, and by no standard.
@scenario(outputs="out/*", faults=("kill", "torn", "power"), profile="ext4")
def fsync_orders_on_ext4() -> None:
    Path("out").mkdir(exist_ok=True)
    if step_done("report"):
        return
    with Path("out/.report.part").open("w") as part:
        part.write("a,b\n" * 2000)
        part.flush()
        os.fsync(part.fileno())
    Path("out/.report.part").replace("out/report.csv")
    mark_done("report")
