"""``python benchmarks/library_table.py``: what writers of whole files do; writes library_table.md.

Each cell is a check that was carried out here and now, with what the package's documentation shows. Needs
strace(1) for the order of calls, and root for owners.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from _writers import installed, openers

HERE = Path(__file__).parent
#: What a check is given: the package's name, and an empty directory.
Check = Callable[[str, Path], str]
CHECKS: dict[str, Check] = {}


def check(title: str) -> Callable[[Check], Check]:
    """Make a function a row of the table."""

    def add(function: Check) -> Check:
        CHECKS[title] = function
        return function

    return add


def write(name: str, path: Path, data: bytes = b"new", **options: object) -> None:
    """Write a file as the package does."""
    with openers()[name](str(path), **options) as file:
        file.write(data)


def mode_of(path: Path) -> str:
    """Return a file's permission bits as text."""
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@check("mode of a new file, umask 027 (open gives 0640)")
def mode_of_a_new_file(name: str, folder: Path) -> str:
    """Compare with what open gives."""
    before = os.umask(0o027)
    try:
        write(name, folder / "out")
    finally:
        os.umask(before)
    return mode_of(folder / "out")


@check("mode of a file of 0604 that is replaced")
def mode_of_a_replaced_file(name: str, folder: Path) -> str:
    """Look whether it is kept."""
    (folder / "out").touch()
    (folder / "out").chmod(0o604)
    write(name, folder / "out")
    return mode_of(folder / "out")


@check("mode of the temporary while a file of 0600 is replaced")
def mode_meanwhile(name: str, folder: Path) -> str:
    """Look whether others could read it."""
    (folder / "out").touch()
    (folder / "out").chmod(0o600)
    with openers()[name](str(folder / "out")) as file:
        file.write(b"new")
        return ", ".join(mode_of(path) for path in folder.iterdir() if path.name != "out") or "elsewhere"


@check("owner of a file that is replaced, as root")
def owner(name: str, folder: Path) -> str:
    """Look whether it is kept."""
    if os.geteuid() != 0:
        return "not tried: not root"
    (folder / "out").touch()
    os.chown(folder / "out", 4711, 4712)
    write(name, folder / "out")
    status = (folder / "out").stat()
    return "kept" if (status.st_uid, status.st_gid) == (4711, 4712) else "lost"


@check("extended attribute of a file that is replaced")
def extended_attribute(name: str, folder: Path) -> str:
    """Look whether it is kept."""
    (folder / "out").touch()
    try:
        os.setxattr(folder / "out", "user.origin", b"1")
    except OSError as error:
        return f"not tried: {error.strerror}"
    write(name, folder / "out")
    return "kept" if os.listxattr(folder / "out") == ["user.origin"] else "lost"


@check("an exception in the block")
def exception(name: str, folder: Path) -> str:
    """Look at what is there after it."""
    (folder / "out").write_bytes(b"old")
    try:
        with openers()[name](str(folder / "out")) as file:
            file.write(b"half")
            raise KeyboardInterrupt  # noqa: TRY301 - this is the block that fails
    except KeyboardInterrupt:
        pass
    found = {b"old": "old file stays", b"half": "**partial file published**"}[(folder / "out").read_bytes()]
    return found + ("" if len(list(folder.iterdir())) == 1 else ", temporary left")


@check("the block closes the file")
def closed(name: str, folder: Path) -> str:
    """Look whether it is published."""
    try:
        with openers()[name](str(folder / "out")) as file:
            file.write(b"new")
            file.close()
    except Exception as error:  # noqa: BLE001 - whatever it says
        return f"{type(error).__name__}"
    return "published" if (folder / "out").exists() else "lost without a word"


@check("the destination is a symbolic link")
def link(name: str, folder: Path) -> str:
    """Look what becomes of the link, and of what it names."""
    (folder / "real").write_bytes(b"old")
    (folder / "link").symlink_to("real")
    try:
        write(name, folder / "link")
    except Exception as error:  # noqa: BLE001 - whatever it says
        return f"refused ({type(error).__name__})"
    return "followed" if (folder / "link").is_symlink() else "**link replaced by a file**"


@check("the destination is a pipe")
def pipe(name: str, folder: Path) -> str:
    """Look whether it is a pipe afterwards."""
    os.mkfifo(folder / "pipe")
    try:
        write(name, folder / "pipe")
    except Exception as error:  # noqa: BLE001 - whatever it says
        return f"refused ({type(error).__name__})"
    return "pipe stays" if (folder / "pipe").is_fifo() else "**pipe replaced by a file**"


@check("a relative path, and a chdir in the block")
def chdir(name: str, folder: Path) -> str:
    """Look where the file is."""
    (folder / "elsewhere").mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with openers()[name]("out") as file:
            file.write(b"new")
            os.chdir("elsewhere")
    except Exception as error:  # noqa: BLE001 - whatever it says
        return f"{type(error).__name__}"
    finally:
        os.chdir(before)
    return "where it was" if (folder / "out").exists() else "**elsewhere**"


@check("a name of 255 bytes")
def long_name(name: str, folder: Path) -> str:
    """Write it."""
    try:
        write(name, folder / ("x" * 255))
    except Exception as error:  # noqa: BLE001 - whatever it says
        return f"{type(error).__name__}"
    return "written"


@check("overwrite=False, and the file comes while the block writes")
def no_clobber(name: str, folder: Path) -> str:
    """Look whose content is there."""
    try:
        with openers()[name](str(folder / "out"), overwrite=False) as file:
            file.write(b"new")
            (folder / "out").write_bytes(b"first")
    except TypeError:
        return "not offered"
    except FileExistsError:
        pass
    return "first stays" if (folder / "out").read_bytes() == b"first" else "**first lost**"


@check("order of fsync and rename, from strace")
def order(name: str, folder: Path) -> str:
    """Look at the system calls of a process of its own."""
    if shutil.which("strace") is None:
        return "not tried: no strace"
    log = folder / "log"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", calls]
    own = [sys.executable, __file__, "--only", name, "--write", str(folder / "out")]
    subprocess.run([*command, *own], check=True, capture_output=True)
    steps = []
    for line in log.read_text().splitlines():
        if f"{folder}" in line and " = 0" in line:
            call = re.sub(r"^\d+ +", "", line).partition("(")[0]
            kind = "directory" if f"<{folder}>" in line else "file"
            steps.append(f"fsync {kind}" if "sync" in call else call.rstrip("at2"))
    return ", ".join(steps) or "none of them"


@check("what a process killed in the block left, after the next write")
def orphan(name: str, folder: Path) -> str:
    """Count what is there beside the file."""
    own = [sys.executable, __file__, "--only", name, "--die", str(folder / "out")]
    subprocess.run(own, check=False, capture_output=True)
    left = len(list(folder.iterdir()))
    write(name, folder / "out")
    after = len(list(folder.iterdir())) - 1
    return f"{left} left, {'removed' if left and not after else f'{after} stay'}"


@check("a whole directory; a path for other libraries; many files at a time")
def others(name: str, _folder: Path) -> str:
    """Look what there is for that."""
    # Those of others were looked for in their documentation: they have none.
    module = import_module(name)
    words = {"atomic_directory": "directory", "atomic_path": "path", "atomic_batch": "batch"}
    return ", ".join(word for function, word in words.items() if hasattr(module, function)) or "not offered"


def table() -> str:
    """Carry out all checks, and return them as Markdown."""
    names = list(openers())
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for title, function in CHECKS.items():
        cells = []
        for name in names:
            with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
                cells.append(function(name, Path(folder).resolve()))
        lines.append(f"| {title} | {' | '.join(cells)} |")
        sys.stdout.write(lines[-1] + "\n")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check, print, and write library_table.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "library_table.md")
    parser.add_argument("--only", help="a package, for the checks that take a process")
    parser.add_argument("--write", type=Path, help="write this file and end")
    parser.add_argument("--die", type=Path, help="begin to write this file and be killed")
    given = parser.parse_args()
    if given.write:
        write(given.only, given.write)
    elif given.die:
        with openers()[given.only](str(given.die)) as file:
            file.write(b"half")
            os.kill(os.getpid(), 9)
    else:
        have = ", ".join(f"{name} {have or 'not installed'}" for name, have in installed().items())
        head = (
            f"# What writers of whole files do\n\n{time.strftime('%Y-%m-%d')}: {have};\n"
            f"Linux {os.uname().release}, user {os.geteuid()}.\n\n"
            "`python benchmarks/library_table.py` writes this page. Each cell is the result of a check,\n"
            "with each package's defaults. safer is used with its temporary file, click with\n"
            "`open_file(atomic=True)`. durablewrite can be asked to keep the owner (`preserve_owner`),\n"
            "and has `cleanup_temp_files()`, which decides by age.\n\n"
        )
        given.out.write_text(head + table())
        sys.stdout.write(f"written: {given.out}\n")


if __name__ == "__main__":
    main()
