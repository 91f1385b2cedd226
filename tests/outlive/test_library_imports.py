"""What `import outlive` costs, shows and promises."""

import inspect
import subprocess
import sys
import types

import pytest

import outlive

PUBLIC = [
    "AlreadyRunningError",
    "Batch",
    "Checkpoints",
    "IncompleteBatchError",
    "Items",
    "PublishedNotDurableError",
    "Retry",
    "Step",
    "StepResult",
    "atomic_batch",
    "atomic_directory",
    "atomic_open",
    "atomic_path",
    "atomic_write",
    "mark_done",
    "remove_orphans",
    "run_lock",
    "run_steps",
    "step",
    "step_done",
]
# What is useful at a call without its name: which directory, and in which mode.
POSITIONAL_WITH_DEFAULT = {"directory", "mode"}


def loaded_by(code, where=None):
    """Return the modules that code adds to those of an interpreter that has just started in a directory."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=where)
    return done.stdout.split()


def test_import_needs_the_standard_library_only(tmp_path):
    """Importing, writing and marking load nothing that does not come with Python."""
    use = """
import outlive
outlive.run_steps([("x" * 300, int)], report=str)
"""
    roots = {name.partition(".")[0] for name in loaded_by(use, tmp_path)}
    assert roots - set(sys.stdlib_module_names) == {"outlive"}


def test_import_is_light():
    """The import alone loads few modules, and none of the heavy ones."""
    modules = loaded_by("import outlive")
    assert len([name for name in modules if not name.startswith("outlive")]) < 30
    heavy = {
        "tempfile",
        "random",
        "hashlib",
        "json",
        "pathlib",
        "dataclasses",
        "inspect",
        "threading",
        "concurrent.futures",
        "ctypes",
        "shutil",
        "sqlite3",
    }
    if sys.version_info >= (3, 13):  # before, `typing` imports it
        heavy.add("re")
    assert heavy.isdisjoint(modules)


def test_import_touches_nothing(tmp_path):
    """The import works where nothing else would: in a directory that no longer exists."""
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])"
    code = f"{leave}; import outlive; print(len(outlive.__all__))"
    command = [sys.executable, "-I", "-c", code, str(gone)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == len(PUBLIC)


def test_public_names():
    """The package shows what it lists, sorted, and nothing else."""
    assert outlive.__all__ == PUBLIC
    shown = {
        name
        for name, value in vars(outlive).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert shown == set(PUBLIC)


@pytest.mark.parametrize(
    "name",
    [
        *PUBLIC,
        "Batch.open",
        "Batch.write",
        "Checkpoints.clear",
        "Checkpoints.done",
        "Checkpoints.items",
        "Checkpoints.mark_done",
        "Items.doing",
        "Items.done",
    ],
)
def test_public_names_have_docstrings(name):
    """Each public name says what it means."""
    value = outlive
    for part in name.split("."):
        value = getattr(value, part)
    assert inspect.getdoc(value)


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.endswith(("Error", "Result"))])
def test_defaults_are_keywords(name):
    """An argument that can be left out is given by name, so that one can be added later."""
    for parameter in inspect.signature(getattr(outlive, name)).parameters.values():
        if parameter.default is not parameter.empty and parameter.name not in POSITIONAL_WITH_DEFAULT:
            assert parameter.kind is parameter.KEYWORD_ONLY
