"""A new directory is a name in its parent: unless that is fsynced, a power cut can take all that is below."""

from pathlib import Path

from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="out/**", faults="power", expect="diverged")
def new_directory_not_fsynced() -> None:
    if step_done("report"):
        return
    Path("out/monday").mkdir(parents=True, exist_ok=True)
    # Here out/ is to be fsynced; atomic_write fsyncs out/monday, and mark_done the directory above out/.
    atomic_write("out/monday/report.csv", "a,b\n" * 2000)
    mark_done("report")
