"""A restart that writes into a directory that a killed run had made, and then takes away what it wrote from.

Run as `_again_parents.py DIRECTORY-OF-OUTLIVE`. What this asks for takes two crashes to show: a kill just
after the mkdir, and a power cut in the recovery.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import atomic_write

if Path("inbox/letter").exists():
    atomic_write("deep/note", Path("inbox/letter").read_text(), parents=True)
    Path("inbox/letter").unlink()
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)
Path("deep/note").read_text()
