"""A pipeline to which the other ways to write a file matter: run as `_files.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import atomic_open, atomic_path, atomic_write, remove_orphans

#: What must be there at the end, whatever a library that is wrong makes of every run alike.
EXPECTED = {
    "out/claim": "ours\n",
    "out/deep/er/note": "a postcard\n",
    "out/report.txt": "a letter\n",
    "out/secret": "a letter\n",
    "out/table": "a letter\n" * 3,
}


def drop(name: str) -> None:
    """Takes away what an output was made from: from here on it must not be lost."""
    Path("inbox", name).unlink()
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


remove_orphans("out")  # of a claim that is there, and is not made again
with suppress(FileExistsError), atomic_open("out/claim", overwrite=False) as late:
    late.write("theirs\n")
    atomic_write("out/claim", "ours\n", overwrite=False)
if Path("inbox/letter").exists():
    text = Path("inbox/letter").read_text()
    with atomic_open("out/report.txt") as report:
        report.write(text)
    for permissions in (0o604, 0o640):  # the second time over a file that has others
        atomic_write("out/secret", text, permissions=permissions)
    with atomic_path("out/table") as path:
        path.write_text(text * 3)
    drop("letter")
if Path("inbox/postcard").exists():
    atomic_write("out/deep/er/note", Path("inbox/postcard").read_text(), parents=True)
    drop("postcard")
for name, text in EXPECTED.items():
    mode = 0o640 if name == "out/secret" else 0o644
    if Path(name).read_text() != text or Path(name).stat().st_mode & 0o777 != mode:
        sys.exit(f"{name} is not what it should be")
