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
    "sync_path",
    "sync_directory",
    "sync_tree",
    "sync_many",
    "flush",
    "replace",
    "rename",
    "rename_new",
    "rename_into_place",
    "link",
    "fchmod",
    "finish",
    "keep_attributes",
    "take_attributes",
    "make_directories",
    "unlink",
    "mkdir",
    "mark_done",
    "atomic_write",
}
#: Files in which each call is removed, but not moved: where its place matters, that stands in the table.
UNMOVED = {
    "_atomic/attributes.py",
    "_atomic/batch.py",
    "_atomic/destination.py",
    "_atomic/directory.py",
    "_atomic/orphans.py",
    "_atomic/temporary.py",
    "_checkpoints/file_facts.py",
    "_system/durability.py",
    "_system/renames.py",
}
#: Files whose mutants are not derived. What goes over the network has a real store in test_remote.py, and
#: test_run_lock.py kills who holds a lock: no crash of a box tells anything of them. What is fsynced around
#: SQLite, test_stores.py asks: to lose it takes two crashes in its log, more states than a test goes through.
APART = {
    "remote/_bucket.py",
    "remote/_checkpoints.py",
    "remote/_directory.py",
    "remote/_fsspec.py",
    "remote/_obstore.py",
    "remote/_store.py",
    "_checkpoints/run_lock.py",
    "_checkpoints/sqlite_file.py",
    "_checkpoints/sqlite_forks.py",
    "_checkpoints/sqlite_format.py",
    "_checkpoints/sqlite_marks.py",
}
#: Functions of which a run here does not come to what matters: without renameat2, and after an error.
UNREACHED = {
    "_brought_back",
    "_exchanged",
    "_incomplete",
    "_removed",
    "_take_back",
    "_with_descriptors",
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
        lines: lines of the unchanged file. A process that executes none of them does as it did before.
    """

    name: str
    file: str
    text: str
    lines: set[int]


#: name: (file, what stands there, what stands there instead)
REPLACED = {
    "the temporary file lies in another directory": (
        "_atomic/files.py",
        "make_beside(self.temporary, resolved, mode)",
        "self.temporary.make('inbox', resolved.name, mode)",
    ),
    "the destination is written in place": (
        "_atomic/files.py",
        "        make_beside(self.temporary, resolved, mode)\n",
        """\
        self.temporary.path = resolved.target
        self.temporary._made.append(opened(resolved.target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        self.temporary._has_lock()
""",
        "import file_of\n",
        "import file_of, opened\n",
    ),
    "the temporary file need not be new": (
        "_atomic/temporary.py",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC",
    ),
    "the temporary file need not be new, and is added to": (
        "_atomic/temporary.py",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_APPEND",
    ),
    "nobody looks for orphans": (
        "_atomic/orphans.py",
        "if before is None and not has_locks():",
        "if before is None:",
    ),
    "the rename comes before the file is finished": (
        "_atomic/files.py",
        """\
        finish(temporary.descriptor, resolved, status)
        if os.name == "nt":  # which renames no open file, and does not let other programs remove one
            temporary.close()
        else:
            refuse_lost(temporary.path, status, resolved.path)
        rename_into_place(resolved, temporary.path, status)
""",
        """\
        rename_into_place(resolved, temporary.path, status)
        finish(temporary.descriptor, resolved, status)
""",
    ),
    "the file is fsynced before it is written": (
        "_atomic/files.py",
        "        write_all(draft.temporary.writer, content)\n",
        "        os.fsync(draft.temporary.writer)\n        write_all(draft.temporary.writer, content)\n",
        "finish(temporary.descriptor, resolved, status)",
        "finish(temporary.descriptor, resolved._replace(durable='none'), status)",
    ),
    "the file is fsynced before it is flushed": (
        "_atomic/files.py",
        "            yield file\n        draft.",
        "            yield file\n            os.fsync(file.fileno())\n        draft.",
        "finish(temporary.descriptor, resolved, status)",
        "finish(temporary.descriptor, resolved._replace(durable='none'), status)",
    ),
    "the old directory is removed before the new one is on the disk": (
        "_atomic/directory.py",
        "        temporary.release()\n",
        "        temporary.release()\n        if replaced:\n            remove_replaced(*replaced)\n",
    ),
    "the old directory is removed before the new one has its name": (
        "_atomic/directory.py",
        "    if renames.exchange(new, resolved.target):\n        return _old(new)\n",
        """\
    import shutil
    shutil.rmtree(resolved.target)
    os.rename(new, resolved.target)
    return None
""",
    ),
    "the old directory is renamed aside, and not brought back": (
        "_atomic/directory.py",
        "    if renames.exchange(new, resolved.target):\n        return _old(new)\n",
        "",
        "if not _brought_back(resolved):",
        "if True:",
    ),
    "files of a directory are not fsynced": (
        "_system/durability.py",
        "    sync_many(lambda path: sync_path(path, durable), files)\n",
        "",
    ),
    "a batch renames before it fsyncs": (
        "_atomic/batch.py",
        "        self._sync_files()\n        for resolved, inner, made in",
        "        for resolved, inner, made in",
        "            self.published.append(resolved.path)\n",
        "            self.published.append(resolved.path)\n        self._sync_files()\n",
    ),
    "the marker is not made durable": (
        "_checkpoints/marker_files.py",
        "atomic_write(self._marker(name), self._content(name, record))",
        "atomic_write(self._marker(name), self._content(name, record), durable='none')",
    ),
    "the marker is written in place": (
        "_checkpoints/marker_files.py",
        "atomic_write(self._marker(name), self._content(name, record))",
        "open(self._marker(name), 'wb').write(self._content(name, record))",
    ),
    "any marker counts, and is written in place": (
        "_checkpoints/marker_files.py",
        "if content == self._content(name, {}):",
        "if content is not None:",
        "atomic_write(self._marker(name), self._content(name, record))",
        "open(self._marker(name), 'wb').write(self._content(name, record))",
    ),
    "an item is marked before its body has run": (
        "_checkpoints/items.py",
        "        yield\n        refuse_child(process)\n        self._mark(name, declaration)\n",
        "        self._mark(name, declaration)\n        yield\n        refuse_child(process)\n",
    ),
    "an item is marked when the next is asked for": (
        "_checkpoints/items.py",
        "            yield item\n",
        "            yield item\n            self._marks.put(name, self._record)\n",
    ),
    "a directory is synced into its parent by whoever makes it alone": (
        "_checkpoints/store.py",
        "with synced_directory(parent), suppress(FileExistsError):",
        "with suppress(FileExistsError) if os.path.isdir(path) else synced_directory(parent):",
    ),
    "a commit is not fsynced": (
        "_checkpoints/sqlite_format.py",
        "'FULL' if mode == 'wal' else 'EXTRA'",
        "'OFF'",
    ),
    "what is held back counts as marked": (
        "_checkpoints/sqlite_file.py",
        "                self._held[mark[:3]] = mark, groups[-1]\n",
        "                self._held[mark[:3]] = mark, groups[-1]\n                mark.is_written()\n",
    ),
    "the file is made where it is to be": (
        "_checkpoints/sqlite_file.py",
        "atomic_write(self.path, empty_file(is_logged=may_log(self.directory)), overwrite=False)",
        'open(self.path, "wb").write(empty_file(is_logged=may_log(self.directory)))',
    ),
    "all steps are marked before the first has run": (
        "_pipeline/run.py",
        "            for name in self._order:\n                begin(name)\n",
        """\
            marks = self._checkpoints
            before = {name: marks.why_stale(name, **self._declared[name]) for name in self._order}
            for name in self._order:
                marks.mark_done(name)
            for name in self._order:
                self._outdated[name] = before[name]
                begin(name)
""",
        "self._outdated.get(name) or self._checkpoints.why_stale(name, **self._declared[name])",
        "self._outdated.pop(name)",
    ),
    "what comes after a step is not forgotten, and runs if that ran": (
        "_pipeline/run.py",
        "                self._checkpoints.clear(one)\n",
        "",
    ),
}  # fmt: skip


def mutants() -> list[Mutant]:
    """Return all mutants, in the same order each time."""
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if named(path) not in APART]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    calls = CALLS | _carriers(list(trees.values()))
    found = [mutant for path, tree in trees.items() for mutant in derived(named(path), tree, calls)]
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
    original = text = (SOURCE / file).read_text()
    lines: set[int] = set()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert original.count(old) == 1, f"{name}: {old!r} stands {original.count(old)} times in {file}"
        first = original[: original.index(old)].count("\n") + 1
        lines |= set(range(first, first + len(old.splitlines())))
        text = text.replace(old, new)
    return Mutant(name, file, text, lines)


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


def named(path: Path) -> str:
    """Return the name of a file of the library: its path in the package."""
    return path.relative_to(SOURCE).as_posix()


def derived(file: str, tree: ast.Module, calls: set[str]) -> list[Mutant]:
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
            if id(holder) in skipped or (what != "removed" and file in UNMOVED):
                continue
            changed = ast.parse(source)
            if change(getattr(_sites(changed, calls)[place][0], field), index):
                label = f"{file}:{statement.lineno} {what}: {_shown(statement)}"
                # What is moved up may run where what stands before it now ends the block.
                before = getattr(holder, field)[index - 1] if what == "before the one before" else statement
                found.append(Mutant(label, file, _text(changed), _lines(before) | _lines(statement)))
    for place, (node, what, _) in enumerate(_values(tree)):
        changed = ast.parse(source)
        _values(changed)[place][2]()
        # A default matters where the function is called, not where it is defined.
        shows = node.body if isinstance(node, ast.FunctionDef) else [node]
        lines = set().union(*map(_lines, shows))
        found.append(Mutant(f"{file}:{node.lineno} {what}", file, _text(changed), lines))
    return found


def _lines(node: ast.AST) -> set[int]:
    """Return the lines on which a node stands, and what is in it."""
    return set(range(node.lineno, node.end_lineno + 1))


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
