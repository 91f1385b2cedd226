"""Mutants of `outlive`: each call that its promises hang on, removed, moved or put in another place.

They are derived from the source, so that new code in the library has its mutants by itself. What
cannot be derived stands in a table of replacements, each of which must fit exactly once.
"""

import ast
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "src" / "outlive"

#: Calls whose place matters, by the last part of their name.
CALLS = {
    "fsync",
    "sync_file",
    "sync_names",
    "sync_tree",
    "overlapped",
    "flush",
    "replace",
    "rename",
    "rename_new",
    "rename_into_place",
    "link",
    "fchmod",
    "finish",
    "keep_attributes",
    "make_directories",
    "unlink",
    "mkdir",
    "mark_done",
    "atomic_write",
}
#: Files in which each call is removed, but not moved: where its place matters, that stands in the table.
UNMOVED = {
    "_attributes.py",
    "_batch.py",
    "_directory.py",
    "_durable.py",
    "_orphans.py",
    "_outputs.py",
    "_place.py",
    "_syscalls.py",
    "_temporary.py",
}
#: Files whose mutants are not derived. What goes over the network has a real store in test_remote.py, and who
#: holds a lock is killed in test_lock.py: no crash of a box tells anything of them. What is fsynced around
#: SQLite, test_stores.py asks: to lose it takes two crashes in its log, more states than a test goes through.
APART = {
    "remote.py",
    "_remote_clients.py",
    "_remote_directory.py",
    "_lock.py",
    "_sqlite_file.py",
    "_sqlite_marks.py",
}
#: Functions of which a run here does not come to what matters: without renameat2, and after an error.
UNREACHED = {
    "_brought_back",
    "_despite_those_that_wait",
    "_incomplete",
    "_swapped",
    "_removed",
    "_take_back",
    "discard",
    "give_up",
    "remove_replaced",
    "rename_new",
}
#: Context managers that bring something to the disk when they end.
CONTEXTS = {"synced", "synced_directory"}


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
        "_atomic.py",
        "self.temporary.make(place.directory, place.name, mode)",
        "self.temporary.make('inbox', place.name, mode)",
    ),
    "the destination is written in place": (
        "_atomic.py",
        "            self.temporary.make(place.directory, place.name, mode)\n",
        """\
            self.temporary.path = place.target
            self.temporary._made.append(opened(place.target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            self.temporary._is_had()
""",
        "import file_of\n",
        "import file_of, opened\n",
    ),
    "the temporary file need not be new": (
        "_temporary.py",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC",
    ),
    "the temporary file need not be new, and is added to": (
        "_temporary.py",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_APPEND",
    ),
    "nobody looks for orphans": (
        "_orphans.py",
        'if before is None and (_fcntl is None or sys.platform != "linux"):',
        "if before is None:",
    ),
    "the rename comes before the file is finished": (
        "_atomic.py",
        """\
        finish(temporary.descriptor, place, status)
        if os.name == "nt":  # which renames no open file, and lets nobody remove one
            temporary.close()
        else:
            refuse_lost(temporary.path, status, place.path)
        rename_into_place(place, temporary.path, status)
""",
        """\
        rename_into_place(place, temporary.path, status)
        finish(temporary.descriptor, place, status)
""",
    ),
    "the file is fsynced before it is written": (
        "_atomic.py",
        "        write_all(draft.temporary.writer, content)\n",
        "        os.fsync(draft.temporary.writer)\n        write_all(draft.temporary.writer, content)\n",
        "    sync_file(descriptor, place.durable)\n",
        "",
    ),
    "the file is fsynced before it is flushed": (
        "_atomic.py",
        "            yield file\n        draft.",
        "            yield file\n            os.fsync(file.fileno())\n        draft.",
        "    sync_file(descriptor, place.durable)\n",
        "",
    ),
    "the old directory is removed before the new one is on the disk": (
        "_directory.py",
        "        temporary.release()\n",
        "        temporary.release()\n        if replaced:\n            remove_replaced(*replaced)\n",
    ),
    "the old directory is removed before the new one has its name": (
        "_directory.py",
        "    if _syscalls.exchange(new, place.target):\n        return _old(new)\n",
        """\
    import shutil
    shutil.rmtree(place.target)
    os.rename(new, place.target)
    return None
""",
    ),
    "the old directory is renamed aside, and not brought back": (
        "_directory.py",
        "    if _syscalls.exchange(new, place.target):\n        return _old(new)\n",
        "",
        "if not _brought_back(place):",
        "if True:",
    ),
    "files of a directory are not fsynced": (
        "_durable.py",
        "    overlapped(lambda path: _sync_path(path, durable), files)\n",
        "",
    ),
    "a batch renames before it fsyncs": (
        "_batch.py",
        "        self._sync_files()\n        for place, inner, made in",
        "        for place, inner, made in",
        "            self.published.append(place.path)\n",
        "            self.published.append(place.path)\n        self._sync_files()\n",
    ),
    "the marker is not made durable": (
        "_marker_files.py",
        "atomic_write(self._marker(name), self._content(name, claims))",
        "atomic_write(self._marker(name), self._content(name, claims), durable='none')",
    ),
    "the marker is written in place": (
        "_marker_files.py",
        "atomic_write(self._marker(name), self._content(name, claims))",
        "open(self._marker(name), 'wb').write(self._content(name, claims))",
    ),
    "any marker counts, and is written in place": (
        "_marker_files.py",
        "if content == self._content(name, {}):",
        "if content is not None:",
        "atomic_write(self._marker(name), self._content(name, claims))",
        "open(self._marker(name), 'wb').write(self._content(name, claims))",
    ),
    "an item is marked before its body has run": (
        "_items.py",
        "        yield\n        refuse_child(process)\n        self._mark(name, wish)\n",
        "        self._mark(name, wish)\n        yield\n        refuse_child(process)\n",
    ),
    "an item is marked when the next is asked for": (
        "_items.py",
        "            yield item\n",
        "            yield item\n            self._marks.put(name, self._claims)\n",
    ),
    "a directory is synced into its parent by whoever makes it alone": (
        "_stores.py",
        "with synced_directory(parent), suppress(FileExistsError):",
        "with suppress(FileExistsError) if os.path.isdir(path) else synced_directory(parent):",
    ),
    "a commit is not fsynced": (
        "_sqlite_file.py",
        "'FULL' if mode == 'wal' else 'EXTRA'",
        "'OFF'",
    ),
    "what is held back counts as marked": (
        "_sqlite_file.py",
        "                self._held[mark[:3]] = mark, groups[-1]\n",
        "                self._held[mark[:3]] = mark, groups[-1]\n                mark.is_written()\n",
    ),
    "the file is made where it is to be": (
        "_sqlite_file.py",
        'atomic_write(self.path, _empty(is_logged=_journal(self.directory) == "WAL"), overwrite=False)',
        'open(self.path, "wb").write(_empty(is_logged=_journal(self.directory) == "WAL"))',
    ),
    "all steps are marked before the first has run": (
        "_steps.py",
        "        for name in order:\n            begin(name)\n",
        """\
        before = {name: checkpoints.doubt(name, **declared[name]) for name in order}
        for name in order:
            checkpoints.mark_done(name)
        for name in order:
            begin(name)
""",
        "outdated.get(name) or checkpoints.doubt(name, **declared[name])",
        "before[name]",
    ),
    "what comes after a step is not forgotten, and runs if that ran": (
        "_steps.py",
        "            checkpoints.clear(one)\n",
        "",
    ),
}  # fmt: skip


def mutants() -> list[Mutant]:
    """Return all mutants, in the same order each time."""
    paths = [path for path in sorted(SOURCE.glob("*.py")) if path.name not in APART]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    calls = CALLS | _carriers(list(trees.values()))
    found = [mutant for path, tree in trees.items() for mutant in derived(path, tree, calls)]
    found += [_replaced(name, *change) for name, change in REPLACED.items()]
    names = [mutant.name for mutant in found]
    assert len(set(names)) == len(names), names
    # Two neighbours may change places in two ways that come to the same.
    different = {(mutant.file, _plain(mutant)): mutant for mutant in reversed(found)}
    return list(reversed(different.values()))


def _plain(mutant: Mutant) -> str:
    """Return a mutant's text as ast writes it, which it is already if it was derived."""
    return ast.unparse(ast.parse(mutant.text)) if mutant.name in REPLACED else mutant.text


def _replaced(name: str, file: str, *changes: str) -> Mutant:
    text = (SOURCE / file).read_text()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times in {file}"
        text = text.replace(old, new)
    return Mutant(name, file, text)


def _carriers(trees: list[ast.Module]) -> set[str]:
    """Return the library's private functions that make such calls, or call one that does."""
    called = [
        (node.name, {_name(call) for call in _calls(node)})
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_")
    ]
    found: set[str] = set()
    for _ in called:
        found = {name for name, names in called if names & (CALLS | found)}
    return found


def derived(path: Path, tree: ast.Module, calls: set[str]) -> list[Mutant]:
    """Return the mutants of one file, given what calls matter."""
    found = []
    source = ast.unparse(tree)  # which is parsed anew for each: to copy a tree takes longer
    unreached = [one for one in ast.walk(tree) if getattr(one, "name", "") in UNREACHED]
    skipped = {id(node) for function in unreached for node in ast.walk(function)}
    for place, (holder, field, index, is_whole) in enumerate(_sites(tree, calls)):
        statement = getattr(holder, field)[index]
        for what, change in _CHANGES.items():
            if what == "removed" and is_whole:  # what it holds is removed by itself
                continue
            if id(holder) in skipped or (what != "removed" and path.name in UNMOVED):
                continue
            changed = ast.parse(source)
            if change(getattr(_sites(changed, calls)[place][0], field), index):
                label = f"{path.name}:{statement.lineno} {what}: {_shown(statement)}"
                found.append(Mutant(label, path.name, _text(changed)))
    for place, (node, what, _) in enumerate(_values(tree)):
        changed = ast.parse(source)
        _values(changed)[place][2]()
        found.append(Mutant(f"{path.name}:{node.lineno} {what}", path.name, _text(changed)))
    return found


def _text(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def _shown(statement: ast.stmt) -> str:
    if isinstance(statement, ast.If | ast.Try):  # of these, what they are about
        return _shown(statement.body[0])
    return ast.unparse(statement).splitlines()[0]


def _sites(tree: ast.AST, calls: set[str]) -> list[tuple[ast.AST, str, int, bool]]:
    """Return where statements stand that matter: (node, field, index, whether it only holds one)."""
    return [
        (node, field, index, _held(statement) is not statement)
        for node in ast.walk(tree)
        for field in ("body", "orelse", "finalbody")
        if isinstance(getattr(node, field, None), list)
        for index, statement in enumerate(getattr(node, field))
        if _matters(_held(statement), calls)
    ]


def _held(statement: ast.stmt) -> ast.stmt:
    """Return what an `if` or a `try` is there for, if that is one statement: they move as one."""
    while isinstance(statement, ast.If | ast.Try) and len(statement.body) == 1 and not statement.orelse:
        statement = statement.body[0]
    return statement


def _matters(statement: ast.stmt, calls: set[str]) -> bool:
    if isinstance(statement, ast.With):
        return any(map(_syncs, statement.items))
    return isinstance(statement, ast.Expr) and any(_name(call) in calls for call in _calls(statement))


def _syncs(item: ast.withitem) -> bool:
    return any(_name(call) in CONTEXTS for call in _calls(item.context_expr))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Call)]


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _values(tree: ast.AST) -> list[tuple[ast.AST, str, Callable[[], None]]]:
    """Return values that promises hang on: (node, what becomes of it, the change), in order."""
    found: list[tuple[ast.AST, str, Callable[[], None]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not any(map(_is_overload, node.decorator_list)):
            for number, argument in enumerate(node.args.kwonlyargs):
                if argument.arg == "durable" and node.args.kw_defaults[number] is not None:
                    change = partial(node.args.kw_defaults.__setitem__, number, ast.Constant(value="none"))
                    found.append((node, f"not durable unless asked: {node.name}", change))
        for keyword in getattr(node, "keywords", ()):
            if keyword.arg == "durable":
                change = partial(setattr, keyword, "value", ast.Constant(value="none"))
                found.append((node, f"durable='none': {_name(node)}", change))
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.Call) and _name(value) == "step_done":
                found += [
                    (value, f"{what}: {ast.unparse(value)}", partial(setattr, node, field, other))
                    for what, other in (
                        ("always true", ast.Constant(value=True)),
                        ("always false", ast.Constant(value=False)),
                        ("inverted", ast.UnaryOp(op=ast.Not(), operand=value)),
                    )
                ]
    return found


def _is_overload(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "overload"


def _removed(statements: list[ast.stmt], index: int) -> bool:
    statement = statements[index]
    if not isinstance(statement, ast.With):
        statements[index] = ast.Pass()
    elif others := [item for item in statement.items if not _syncs(item)]:
        statement.items = others
    else:  # what it does is kept, what it makes last is not
        statements[index : index + 1] = statement.body
    return True


def _later(statements: list[ast.stmt], index: int) -> bool:
    if index + 1 >= len(statements) or isinstance(statements[index + 1], ast.Return | ast.Raise):
        return False
    statements[index], statements[index + 1] = statements[index + 1], statements[index]
    return True


def _earlier(statements: list[ast.stmt], index: int) -> bool:
    """Move it up, unless what stands there makes what it needs."""
    movable = ast.Expr | ast.If | ast.Try | ast.With | ast.For
    if not index or not isinstance(statements[index - 1], movable) or _is_text(statements[index - 1]):
        return False
    return _later(statements, index - 1)


def _last(statements: list[ast.stmt], index: int) -> bool:
    if index + 2 >= len(statements) or isinstance(statements[-1], ast.Return | ast.Raise):
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
