"""The entry point of a worker process: ``python -m outlive_harness.trial.worker ROOT NUMBER``.

As the subreaper of what it starts (prctl(2), PR_SET_CHILD_SUBREAPER), a worker knows when a pipeline's tree
is gone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from outlive_harness.jobs.worker import serve
from outlive_harness.launch.reap import adopt_orphans

from .bench import Bench


def main(root: Path, number: int) -> None:
    """Work until standard input ends.

    Args:
        root: the session's directory.
        number: the worker's number, which names its private directory.
    """
    adopt_orphans()
    serve(root, lambda control: Bench(root / f"w{number:03d}", control))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
