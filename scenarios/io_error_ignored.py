"""An I/O error that is only logged publishes what could not be written."""

import os
from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="report.csv", faults="eio", expect="torn-output")
def io_error_ignored() -> None:
    part = os.open(".report.part", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(part, b"monday,1\n" * 500)
    except OSError as error:
        print(f"ignored: {error}")
    os.close(part)
    Path(".report.part").rename("report.csv")
