"""The order of floors: imports of the harness run downwards only, also inside functions."""

import ast
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1] / "harness" / "outlive_harness"
#: From the top down. What stands in one line may not import one another.
FLOORS = (
    ("plugin", "__main__", "__init__"),
    ("cli", "pytest_support", "strategies"),
    ("drawn",),
    ("config",),
    ("report",),
    ("explain",),
    ("explore",),
    ("history",),
    ("search",),
    ("trial",),
    ("golden",),
    ("judge",),
    ("world",),
    ("faults",),
    ("launch",),
    ("intercept",),
    ("jobs",),
    ("disk",),
    ("_body", "readers"),
    ("results",),
    ("abi",),
)
#: Documented import paths of what now lives elsewhere. Each only passes on names from below, to users alone.
ALIASES = ("scenario", "plan", "explore.results")
HEIGHT = {room: -number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(path):
    """Yield the modules of the harness that a file imports, wherever it does."""
    package = path.relative_to(HARNESS.parent).with_suffix("").parts
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("outlive_harness."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            if module == "outlive_harness":
                yield from (f"outlive_harness.{alias.name}" for alias in node.names if alias.name in HEIGHT)
            elif module.startswith("outlive_harness."):
                yield module


def name_of(path):
    return ".".join(path.relative_to(HARNESS).with_suffix("").parts)


def test_imports_run_downwards_only():
    """Each room imports what is below it, or itself: never the other way round, nor beside it."""
    wrong = []
    for path in sorted(HARNESS.rglob("*.py")):
        if name_of(path) in ALIASES or path == HARNESS / "__init__.py":
            continue
        room = path.relative_to(HARNESS).with_suffix("").parts[0]
        for module in imports(path):
            other = module.split(".")[1]
            if module.removeprefix("outlive_harness.") in ALIASES:
                wrong.append(f"{path.relative_to(HARNESS)} imports {module}, which is for users")
            elif other != room and HEIGHT[other] >= HEIGHT[room]:
                wrong.append(f"{path.relative_to(HARNESS)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_each_room_stands_on_a_floor():
    """A new room or module at the top has its place in the order, and each room says what it holds."""
    there = {path.stem for path in HARNESS.glob("*.py")} | {
        path.parent.name for path in HARNESS.glob("*/__init__.py")
    }
    assert there - set(ALIASES) == HEIGHT.keys()
    for path in HARNESS.glob("*/__init__.py"):
        told = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "\n\n" in told, f"{path.parent.name} has no paragraph"


@pytest.mark.parametrize(
    "package", [HARNESS, HARNESS.parents[1] / "src" / "outlive"], ids=lambda path: path.name
)
def test_no_module_is_long(package):
    """A file holds one idea: at most 400 lines."""
    long = {
        str(path): count
        for path in package.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long
