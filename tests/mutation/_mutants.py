"""Mutants of `outlive`: each call that its promises hang on, removed, moved or put in another place.

They are derived from the source, so that new code in the library has its mutants by itself. What
cannot be derived stands in a table of replacements, each of which must fit exactly once.
"""

import ast
import copy
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "src" / "outlive"

#: Calls whose place matters, by the last part of their name.
CALLS = {
    "fsync",
    "flush",
    "replace",
    "rename",
    "link",
    "fchmod",
    "unlink",
    "mkdir",
    "mark_done",
    "atomic_write",
}
#: Context managers that bring something to the disk when they end.
CONTEXTS = {"synced_directory"}


class Mutant(NamedTuple):
    """One file of the library, changed.

    Attributes:
        name: what was done, and where.
        file: which file of the library.
        text: its whole new content.
    """

    name: str
    file: str
    text: str


#: name: (file, what stands there, what stands there instead)
REPLACED = {
    "the temporary file lies in another directory": (
        "_atomic.py", '{"dir": parent, ', '{"dir": None, ',
    ),
    "the destination is written in place": (
        "_atomic.py",
        "return NamedTemporaryFile(mode, **options, **text_options)",
        """
        import tempfile
        return tempfile._TemporaryFileWrapper(open(target, mode, **text_options), target, delete=False)""",
    ),
    "the rename comes before the file is finished": (
        "_atomic.py",
        "            _finish(temporary, permissions, durable=durable)\n",
        """\
            os.replace(temporary.name, target)
            _finish(temporary, permissions, durable=durable)
""",
        """\
        try:
            os.replace(temporary.name, target)
        except OSError as error:
            _give_up(temporary, path, error)
            raise
""",
        "",
    ),
    "the file is fsynced before it is flushed": (
        "_atomic.py",
        "    temporary.file.flush()\n    descriptor = temporary.file.fileno()\n",
        "    descriptor = temporary.file.fileno()\n    os.fsync(descriptor)\n    temporary.file.flush()\n",
        "    if durable:\n        os.fsync(descriptor)\n    temporary.close()",
        "    temporary.close()",
    ),
    "the directory is fsynced before the rename": (
        "_atomic.py",
        "    with synced_directory(os.path.dirname(target)) if durable else nullcontext():\n",
        "    with synced_directory(os.path.dirname(target)): pass\n    with nullcontext():\n",
    ),
    "the file is fsynced after the rename": (
        "_atomic.py",
        "    if durable:\n        os.fsync(descriptor)\n    temporary.close()",
        "    temporary.close()",
        "            os.replace(temporary.name, target)\n",
        """\
            os.replace(temporary.name, target)
            if durable:
                late = os.open(target, os.O_RDONLY)
                os.fsync(late)
                os.close(late)
""",
    ),
    "outputs are not made durable": (
        "_atomic.py", "    durable: bool = True,\n) -> None:", "    durable: bool = False,\n) -> None:",
    ),
    "the marker is not made durable": (
        "_checkpoints.py",
        "atomic_write(marker, self._content(name))",
        "atomic_write(marker, self._content(name), durable=False)",
    ),
    "the marker is written in place": (
        "_checkpoints.py",
        "atomic_write(marker, self._content(name))",
        "open(marker, 'wb').write(self._content(name))",
    ),
    "any marker counts, whatever it says": (
        "_checkpoints.py",
        "return _read_regular(self._marker(name)) == self._content(name)",
        "return _read_regular(self._marker(name)) is not None",
    ),
    "any marker counts, and is written in place": (
        "_checkpoints.py",
        "return _read_regular(self._marker(name)) == self._content(name)",
        "return _read_regular(self._marker(name)) is not None",
        "atomic_write(marker, self._content(name))",
        "open(marker, 'wb').write(self._content(name))",
    ),
    "no step counts as done": (
        "_checkpoints.py",
        "return _read_regular(self._marker(name)) == self._content(name)",
        "return False",
    ),
    "every step counts as done": (
        "_checkpoints.py",
        "return _read_regular(self._marker(name)) == self._content(name)",
        "return True",
    ),
    "all steps are marked before the first has run": (
        "_steps.py",
        """\
    for name, step in named.items():
        skipped = checkpoints.step_done(name)
""",
        """\
    before = {name: checkpoints.step_done(name) for name in named}
    for name in named:
        checkpoints.mark_done(name)
    for name, step in named.items():
        skipped = before[name]
""",
    ),
}  # fmt: skip


def mutants() -> list[Mutant]:
    """Return all mutants, in the same order each time."""
    found = [mutant for path in sorted(SOURCE.glob("*.py")) for mutant in _derived(path)]
    found += [_replaced(name, *change) for name, change in REPLACED.items()]
    names = [mutant.name for mutant in found]
    assert len(set(names)) == len(names), names
    return found


def _replaced(name: str, file: str, *changes: str) -> Mutant:
    text = (SOURCE / file).read_text()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times in {file}"
        text = text.replace(old, new)
    return Mutant(name, file, text)


def _derived(path: Path) -> list[Mutant]:
    tree = ast.parse(path.read_text())
    found = []
    for place, (_, field, index) in enumerate(_sites(tree)):
        for what, change in _CHANGES.items():
            changed = copy.deepcopy(tree)
            holder = _sites(changed)[place][0]
            statements = getattr(holder, field)
            label = f"{path.name}:{statements[index].lineno} {what}: {_shown(statements[index])}"
            if change(statements, index):
                found.append(Mutant(label, path.name, ast.unparse(ast.fix_missing_locations(changed))))
    return found


def _shown(statement: ast.stmt) -> str:
    return ast.unparse(statement).splitlines()[0]


def _sites(tree: ast.AST) -> list[tuple[ast.AST, str, int]]:
    """Return where statements stand that matter: (node, field, index), in order."""
    return [
        (node, field, index)
        for node in ast.walk(tree)
        for field in ("body", "orelse", "finalbody")
        if isinstance(getattr(node, field, None), list)
        for index, statement in enumerate(getattr(node, field))
        if _matters(statement)
    ]


def _matters(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.With):
        return any(_name(call) in CONTEXTS for item in statement.items for call in _calls(item.context_expr))
    return isinstance(statement, ast.Expr) and any(_name(call) in CALLS for call in _calls(statement))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Call)]


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _removed(statements: list[ast.stmt], index: int) -> bool:
    statement = statements[index]
    if isinstance(statement, ast.With):  # what it does is kept, what it makes last is not
        statements[index : index + 1] = statement.body
    else:
        statements[index] = ast.Pass()
    return True


def _later(statements: list[ast.stmt], index: int) -> bool:
    if index + 1 >= len(statements):
        return False
    statements[index], statements[index + 1] = statements[index + 1], statements[index]
    return True


def _earlier(statements: list[ast.stmt], index: int) -> bool:
    if not index or not isinstance(statements[index - 1], ast.Expr) or _is_text(statements[index - 1]):
        return False
    return _later(statements, index - 1)


def _last(statements: list[ast.stmt], index: int) -> bool:
    if index + 2 >= len(statements):
        return False
    statements.append(statements.pop(index))
    return True


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


_CHANGES = {
    "removed": _removed,
    "after the next": _later,
    "before the one before": _earlier,
    "at the end": _last,
}
