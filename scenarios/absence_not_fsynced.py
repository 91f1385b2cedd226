"""A mark that is gone may come back: who finds none must sync that, too, before building anew on it."""

from pathlib import Path

from outlive_harness import scenario

SCRIPT = """
if ! cmp -s prices out/prices; then
    if test -e marks/report; then       # whatever was made from the old prices is to be made again
        rm marks/report
        sync marks                      # belongs after the fi: a run that is killed here has not done it
    fi
    cp prices out/.part
    sync out/.part
    mv out/.part out/prices
    sync out
fi
if ! test -e marks/report; then
    wc -c < out/prices > out/.part
    sync out/.part
    mv out/.part out/report
    sync out
    touch marks/report
    sync marks
fi
"""


def new_prices() -> None:
    for directory in ("out", "marks"):
        Path(directory).mkdir()
    Path("prices").write_text("apples 12\npears 14\n")
    Path("out/prices").write_text("apples 9\n")
    Path("out/report").write_text("9\n")
    Path("marks/report").touch()


# A kill does no harm, and no power cut: it takes a kill, and then a power cut in the recovery.
absence_not_fsynced = scenario(
    command=["sh", "-euc", SCRIPT],
    outputs="out/*",
    setup=new_prices,
    faults=("kill", "power"),
    depth=2,
    expect="diverged",
)
