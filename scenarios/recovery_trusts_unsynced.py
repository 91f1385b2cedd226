"""An output that a killed run left need not be on the disk yet, and a recovery that finds it must sync it."""

from pathlib import Path

from outlive_harness import scenario

SCRIPT = """
test -e report.done && exit
if ! test -e out/report.csv; then
    echo a,b > out/.part
    sync out/.part
    mv out/.part out/report.csv
    sync out                # belongs after the fi: a run that is killed here has not done it
fi
touch report.done
sync .
"""


def directory() -> None:
    Path("out").mkdir()


# A kill does no harm, and no power cut: it takes a kill, and then a power cut in the recovery.
recovery_trusts_unsynced = scenario(
    command=["sh", "-euc", SCRIPT],
    outputs="out/*",
    setup=directory,
    faults=("kill", "power"),
    depth=2,
    expect="diverged",
)
