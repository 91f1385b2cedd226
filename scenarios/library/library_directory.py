"""A directory of outputs is swapped in whole: every file of it is old, or every file of it is new."""

from pathlib import Path

from outlive import atomic_directory
from outlive_harness import scenario


def old_site() -> None:
    Path("site").mkdir()
    Path("site/index.html").write_text("old")
    Path("site/old.css").write_text("old")


@scenario(
    outputs="site/**",
    setup=old_site,
    litter="fail",
    faults=("kill", "full", "eio", "term", "power"),
)
def library_directory() -> None:
    # At each start, after whatever fault: one site, whole.
    names = sorted(entry.name for entry in Path("site").iterdir())
    assert names in (["index.html", "old.css"], ["index.html", "pages"]), names
    with atomic_directory("site") as site:
        (site / "index.html").write_text("new")
        (site / "pages").mkdir()
        (site / "pages/one.html").write_text("new")
