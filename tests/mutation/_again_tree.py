"""A restart that removes the old directory which a killed run had swapped out.

Run as `_again_tree.py DIRECTORY-OF-OUTLIVE`. What this asks for takes two crashes to show: a kill just after
the swap, and a power cut in the recovery.
"""

import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import atomic_directory

tree = {path.name: path.read_text() for path in Path("out/tree").iterdir()}
if tree not in ({"one": "old", "two": "old"}, {"one": "new"}):
    sys.exit(f"out/tree is neither the old one nor the new one: {tree}")
with atomic_directory("out/tree") as place:
    (place / "one").write_text("new")
