"""Which lines of the library its processes execute, whenever they are killed.

A copy of the library notes lines that it executes in a file outside of any box. It does so by stores to
memory that it shares with that file, which are no system calls: the pipeline makes the same ones as without,
and what was noted before a SIGKILL is there.
"""

import ast
from pathlib import Path

#: A bound for the lines of one file.
_ROOM = 2000
#: A module beside the others in the copy.
_SHARED = """\
import mmap

with open({noted!r}, "r+b") as file:
    noted = mmap.mmap(file.fileno(), 0)
"""


def noting(library: Path, noted: Path, wanted: dict[str, set[int]]) -> None:
    """Make a copy of the library note in a file which of some lines it executes, by file."""
    noted.write_bytes(bytes(_ROOM * len(wanted)))
    (library / "_noted.py").write_text(_SHARED.format(noted=str(noted)))
    for number, name in enumerate(sorted(wanted)):
        path = library / name
        tree = ast.parse(path.read_text())
        for node in list(ast.walk(tree)):
            for field in ("body", "orelse", "finalbody"):
                if isinstance(statements := getattr(node, field, None), list):
                    setattr(node, field, _noting(statements, number * _ROOM, wanted[name]))
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def lines(noted: Path, wanted: dict[str, set[int]]) -> dict[str, set[int]]:
    """Return which of the lines were noted, by file."""
    found = noted.read_bytes()
    return {
        name: {line for line in range(_ROOM) if found[number * _ROOM + line]}
        for number, name in enumerate(sorted(wanted))
    }


def _noting(statements: list[ast.stmt], first: int, wanted: set[int]) -> list[ast.stmt]:
    """Return statements, each after one that notes its lines if any is wanted."""
    found: list[ast.stmt] = []
    for statement in statements:
        own = _own(statement)
        if not wanted.isdisjoint(own) and not _is_future(statement):
            note = "from outlive._noted import noted as _noted\n"
            note += "".join(f"_noted[{first + line}] = 1\n" for line in sorted(own & wanted))
            found += ast.parse(note).body
        found.append(statement)
    return found


def _own(statement: ast.stmt) -> set[int]:
    """Return the lines of a statement, without those of the statements in it."""
    inner = [one for one in ast.walk(statement) if isinstance(one, ast.stmt) and one is not statement]
    last = min((one.lineno for one in inner), default=statement.end_lineno + 1)
    return set(range(statement.lineno, max(last, statement.lineno + 1)))


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
