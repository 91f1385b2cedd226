"""A temporary file on another file system cannot be renamed into place, and a copy is seen half-done."""

import shutil
import tempfile
from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="out/*", expect="torn-output")
def copied_temporary() -> None:
    Path("out").mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w") as temporary:  # in TMPDIR, not beside its destination
        temporary.write("a,b\n" * 10_000)
        temporary.flush()
        shutil.copyfile(temporary.name, "out/report.csv")
