"""A run that dies with the lock in its hands locks nobody out, since the kernel takes the lock back."""

from outlive import atomic_write, run_lock
from outlive_harness import scenario


@scenario(outputs="report.txt", faults=("kill", "power"))
def one_run_at_a_time() -> None:
    with run_lock():
        atomic_write("report.txt", f"total: {sum(range(100))}\n")
