"""The process that reads: what readers do to themselves, they do to nobody else."""

import os
import textwrap
import time

import psutil
import pytest

from outlive_harness.disk.tree import scan
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import scenario
from outlive_harness.results.scenario_files import load_file
from outlive_harness.world import reading
from outlive_harness.world.reading import Reading


@pytest.fixture
def reader(monkeypatch):
    """A reading process with a short time limit and little memory; it is ended afterwards."""
    monkeypatch.setattr(reading, "_SECONDS", 2.0)
    monkeypatch.setattr(reading, "_MEMORY", 256 << 20)
    found = Reading("")
    yield found
    found.close()


def spec_of(tmp_path, body):
    """Return the run spec of a scenario whose outputs a function reads."""
    file = tmp_path / "scenarios.py"
    file.write_text(
        "import os, time, signal\nfrom outlive_harness import scenario\n\n"
        f"def read(path):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n\n"
        'one = scenario(command=["true"], read={"out/*": read})\n'
    )
    (found,) = load_file(file)
    return run_spec_of(found)


def value(reader, spec, root, path="out/a"):
    """Return the entry that an output has in a tree of values."""
    return reader.valued(spec, scan(root), root).get(path)


@pytest.fixture
def root(tmp_path):
    """A box with one output."""
    (tmp_path / "box/out").mkdir(parents=True)
    (tmp_path / "box/out/a").write_text("text")
    return tmp_path / "box"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("time.sleep(600)", "the reader had not ended after 2 s"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the reader was killed by SIGSEGV"),
        ("os._exit(3)", "the reader ended with status 3"),
        ("return len(bytearray(1 << 30))", "the reader needs more than 256 MiB"),
        ("raise LookupError('no such row')", "it raised LookupError: no such row"),
        ("return object()", "cannot be compared"),
        ("import nowhere", "the reader needs nowhere in this Python: pip install nowhere"),
    ],
)
def test_a_reader_that_fails_takes_nothing_along(reader, tmp_path, root, body, told):
    """It hangs, crashes, exits, eats memory or raises: the next output is read all the same."""
    spec = spec_of(tmp_path, f"if path.name == 'a':\n    {body}\nreturn path.read_text()")
    (root / "out/b").write_text("text")
    entry = value(reader, spec, root)
    assert told in entry.failed
    assert not value(reader, spec, root, "out/b").failed
    assert entry != value(reader, spec, root, "out/b")


def test_equal_contents_are_read_once(reader, tmp_path, root):
    """A value is known by the content that it was read from."""
    spec = spec_of(tmp_path, "return open(os.path.dirname(__file__) + '/count', 'a').write('x')")
    first = value(reader, spec, root)
    (root / "out/a").write_text("text")
    assert value(reader, spec, root) == first
    assert (tmp_path / "count").read_text() == "x"
    (root / "out/a").write_text("other")
    value(reader, spec, root)
    assert (tmp_path / "count").read_text() == "xx"


def test_a_process_that_is_gone_is_started_anew(reader, tmp_path, root):
    """A kill of the process that reads costs one start, and no verdict."""
    spec = spec_of(tmp_path, "return path.read_text()")
    first = value(reader, spec, root)
    (pid,) = reader.pids
    psutil.Process(pid).kill()
    (root / "out/a").write_text("other")
    assert value(reader, spec, root) != first
    assert reader.pids != [pid]


def test_the_process_ends_with_its_owner(tmp_path, root):
    """A worker that is killed leaves no process that reads."""
    spec = spec_of(tmp_path, "return path.read_text()")
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        found = Reading("")
        value(found, spec, root)
        os.write(theirs, str(found.pids[0]).encode())
        time.sleep(600)
    os.close(theirs)
    pid = int(os.read(ours, 32))
    os.close(ours)
    process = psutil.Process(pid)
    os.kill(child, 9)
    os.waitpid(child, 0)
    process.wait(timeout=30)


def test_a_spec_without_readers_costs_nothing(reader, root):
    """No process is started, and the tree is returned as it is."""
    tree = scan(root)
    assert reader.valued(run_spec_of(scenario(command=["true"], name="x")), tree, root) is tree
    assert reader.pids == []
