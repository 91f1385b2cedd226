"""Temporary files with a new random name each time pile up, one a crash, when nobody removes old ones."""

import os
import tempfile
from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="report.csv", litter="fail", expect="litter")
def random_temporaries() -> None:
    descriptor, temporary = tempfile.mkstemp(dir=".", prefix="report.")
    with os.fdopen(descriptor, "w") as file:
        file.write("a,b\n" * 1000)
        os.fchmod(descriptor, 0o644)
    Path(temporary).replace("report.csv")
