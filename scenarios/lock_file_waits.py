"""A lock file outlives the run that made it, and every later run waits for it for ever."""

import time
from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="out", expect="recovery-hung", timeout=2)
def lock_file_waits() -> None:
    lock = Path("run.lock")
    while True:
        try:
            lock.touch(exist_ok=False)
            break
        except FileExistsError:
            time.sleep(0.05)
    Path("out").mkdir(exist_ok=True)
    lock.unlink()
