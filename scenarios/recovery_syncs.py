"""A recovery syncs what it finds before it builds on it: a killed run may have left it to the page cache."""

from pathlib import Path

from outlive_harness import scenario

SCRIPT = """
test -e report.done && exit
if ! test -e out/report.csv; then
    echo a,b > out/.part
    sync out/.part
    mv out/.part out/report.csv
fi
sync out
touch report.done
sync .
"""


def directory() -> None:
    Path("out").mkdir()


recovery_syncs = scenario(
    command=["sh", "-euc", SCRIPT], outputs="out/*", setup=directory, faults=("kill", "power"), depth=2
)
