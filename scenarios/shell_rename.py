"""A shell pipeline is crash-safe too: mktemp beside the destination, sync, mv, and old leftovers removed."""

from pathlib import Path

from outlive_harness import scenario

SCRIPT = """
mkdir -p out
rm -f out/.sorted.*                     # what a killed run has left
part=$(mktemp out/.sorted.XXXXXX)
sort names.txt > "$part"
chmod 644 "$part"
sync "$part"
mv "$part" out/sorted.txt
sync out
"""


def names() -> None:
    Path("names.txt").write_text("".join(f"name {number * 37 % 101}\n" for number in range(101)))


shell_rename = scenario(command=["sh", "-euc", SCRIPT], outputs="out/*", setup=names, litter="fail")
