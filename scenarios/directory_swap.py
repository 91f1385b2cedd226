"""Two renames swap a directory: for a moment readers find none of it, but they never find half of it."""

import shutil
from pathlib import Path

from outlive_harness import scenario

SITE, NEW, OLD = Path("site"), Path("site.new"), Path("site.old")


def old_site() -> None:
    SITE.mkdir()
    (SITE / "index.html").write_text("old")


@scenario(outputs="site/**", setup=old_site, litter="fail")
def directory_swap() -> None:
    if not SITE.exists():  # killed between the two renames
        OLD.rename(SITE)
    for leftover in (NEW, OLD):
        shutil.rmtree(leftover, ignore_errors=True)
    NEW.mkdir()
    (NEW / "index.html").write_text("new")
    (NEW / "style.css").write_text("body { color: black }")
    SITE.rename(OLD)
    NEW.rename(SITE)
    shutil.rmtree(OLD)
