"""Files that belong together are renamed one by one: in between readers find a new one and an old one."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


def of_yesterday() -> None:
    Path("out").mkdir()
    for name in ("table.csv", "index.csv"):
        Path("out", name).write_text(f"{name} of yesterday\n")


@scenario(outputs="out/*", together="out/*", setup=of_yesterday, expect="torn-output")
def set_one_by_one() -> None:
    for name in ("table.csv", "index.csv"):
        atomic_write(Path("out", name), f"{name} of today\n")
