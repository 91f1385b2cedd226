"""Outputs and markers on object stores: a real S3 API, a directory, memory; and on Dask."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="needs obstore: pip install 'outlive[remote]'")

from obstore.store import MemoryStore

from outlive.remote import Bucket, RemoteCheckpoints, RemoteError

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def until(what, seconds=60):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.05)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def s3():
    """A real S3 API on this machine; its options for a client."""
    pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[s3]' flask flask-cors")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port))
        at = f"http://127.0.0.1:{port}"
        made = HTTPConnection("127.0.0.1", port)
        made.request("PUT", "/bucket")
        assert made.getresponse().status == 200
        made.close()
        yield {
            "endpoint": at,
            "region": "us-east-1",
            "access_key_id": "a",
            "secret_access_key": "b",
            "client_options": {"allow_http": True},
        }
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["s3", "directory", "memory", "fsspec"])
def bucket(request, tmp_path):
    """An empty bucket of each kind."""
    if request.param == "s3":
        options = request.getfixturevalue("s3")
        return Bucket(f"s3://bucket/{tmp_path.name}", **options)
    if request.param == "directory":
        return Bucket(f"file://{tmp_path}")
    if request.param == "memory":
        return Bucket(MemoryStore(), prefix="some/where")
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    return Bucket(fsspec.filesystem("memory"), prefix=f"{tmp_path.name}/x")


def test_what_is_put_is_there(bucket):
    """Text, bytes and files; what is not there is None, and is removed without a word."""
    bucket.put("a/text", "\u00e9")
    bucket.put("bytes", b"\0\1")
    bucket.put("file", Path(__file__))
    assert (bucket.get("a/text"), bucket.get("bytes")) == ("\u00e9".encode(), b"\0\1")
    assert bucket.get("file") == Path(__file__).read_bytes()
    assert (bucket.get("none"), bucket.stat("none")) == (None, None)
    assert bucket.stat("bytes").size == 2
    assert bucket.names() == ["a/text", "bytes", "file"]
    assert bucket.names("a/") == ["a/text"]
    bucket.delete("none")
    bucket.delete("file")
    assert bucket.names() == ["a/text", "bytes"]


def test_of_many_that_create_one_does(bucket):
    """At the same time, from several threads."""
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda number: bucket.create("k", str(number)), range(16)))
    assert told.count(True) == 1
    assert bucket.get("k") == str(told.index(True)).encode()


def test_an_object_that_has_changed_is_not_replaced(bucket):
    """Only who knows its latest tag replaces it."""
    bucket.put("k", "1")
    old = bucket.stat("k").tag
    bucket.put("k", "22")
    assert not bucket.replace("k", "333", tag=old)
    assert bucket.replace("k", "4444", tag=bucket.stat("k").tag)
    assert bucket.get("k") == b"4444"


def test_a_step_is_done_while_its_outputs_are_what_they_were(bucket):
    """Missing, changed or other outputs make it run again, and why() says which."""
    run = RemoteCheckpoints(bucket, run_id="monday")
    out = ["clean.csv"]
    assert run.why("clean", outputs=out) == "clean will run: it is not marked"
    with pytest.raises(RemoteError, match=r"its output 'clean\.csv' is not there"):
        run.mark_done("clean", outputs=out)
    bucket.put("clean.csv", "1")
    assert run.mark_done("clean", outputs=out)
    assert not run.mark_done("clean", outputs=out)
    assert run.step_done("clean", outputs=out)
    assert run.why("clean", outputs=out) == "clean is done"
    assert run.why("clean") == "clean will run: its outputs are others now"
    bucket.put("clean.csv", "22")
    assert run.why("clean", outputs=out).endswith("'clean.csv' is not what it was when the step was marked")
    assert run.mark_done("clean", outputs=out)
    assert run.step_done("clean", outputs=out)
    bucket.delete("clean.csv")
    assert run.why("clean", outputs=out) == "clean will run: its output 'clean.csv' is not there"


def test_runs_and_steps_do_not_share_markers(bucket):
    """Whatever their names are."""
    names = ["a", "a/b", ".", "..", "", "%", "A", "\u00e9", "a b", "a.done"]
    runs = {name: RemoteCheckpoints(bucket, run_id=name) for name in names}
    for run in runs.values():
        for name in names:
            assert not run.step_done(name)
            assert run.mark_done(name)
    assert all(run.done() == sorted(names) for run in runs.values())
    runs["a"].clear("a/b")
    runs["A"].clear()
    assert runs["A"].done() == []
    assert runs["a"].done() == sorted(set(names) - {"a/b"})
    assert runs["a/b"].done() == sorted(names)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 9, "step": "s", "run_id": "", "outputs": {}}', "\0"]
)
def test_a_marker_that_is_none_does_not_count(text):
    """Damaged, or by a newer version; to mark the step replaces it."""
    bucket = Bucket(MemoryStore())
    run = RemoteCheckpoints(bucket)
    bucket.put(".checkpoints/%/s.done", text)
    assert not run.step_done("s")
    assert ("another version" if "9" in text else "damaged") in run.why("s")
    assert run.mark_done("s")
    assert run.step_done("s")


def test_a_store_that_is_not_there_is_said_in_time():
    """Nothing listens: an error of our own that names the store and the key."""
    bucket = Bucket(
        "s3://bucket/x", endpoint=f"http://127.0.0.1:{free_port()}", region="r", skip_signature=True,
        timeout=1, client_options={"allow_http": True, "timeout": "1s"},
    )  # fmt: skip
    for ask in (
        lambda: bucket.get("k"),
        lambda: bucket.put("k", ""),
        bucket.names,
        lambda: bucket.create("k", ""),
    ):
        with pytest.raises(RemoteError, match="s3://bucket/x"):
            ask()


def test_a_store_that_refuses_is_no_missing_marker(s3):
    """A bucket that does not exist takes no output, and says so."""
    bucket = Bucket("s3://nowhere", **s3)
    with pytest.raises(RemoteError, match="key='k' cannot be written in s3://nowhere"):
        bucket.put("k", "1")


def test_a_file_system_without_a_conditional_put_is_refused():
    """It would replace what is there, and say that it had made it."""

    class Old:
        def pipe_file(self, _path, _value, **_options):
            raise AssertionError

    with pytest.raises(RemoteError, match="Old has no conditional put"):
        Bucket(Old()).create("k", "1")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Bucket(3), TypeError, "store=3 is no URL"),
        (lambda: Bucket("nonsense"), ValueError, "store='nonsense' cannot be opened"),
        (lambda: Bucket("s3://b", timeout=0), ValueError, "timeout=0 is no number of seconds"),
        (lambda: Bucket(MemoryStore(), region="x"), TypeError, "region= is for a URL"),
        (lambda: Bucket(MemoryStore()).get(""), ValueError, "key='' is no name"),
        (lambda: Bucket(MemoryStore()).put("k", 3), TypeError, "data=3 is neither"),
        (lambda: Bucket(MemoryStore()).create("k", Path("x")), TypeError, "is neither text nor bytes"),
        (lambda: RemoteCheckpoints("b"), TypeError, "bucket='b' is not"),
        (lambda: RemoteCheckpoints(Bucket(MemoryStore()), run_id=1), TypeError, "run_id=1 is not a string"),
        (lambda: RemoteCheckpoints(Bucket(MemoryStore())).step_done(1), TypeError, "name=1 is not a string"),
    ],
)
def test_bad_arguments_are_named(call, error, said):
    """The message begins with the argument and its value."""
    with pytest.raises(error, match=said):
        call()


# -- an engine -----------------------------------------------------------------------------------------

#: The example, whose fourth part waits to be killed, once: before it publishes, or before it marks.
PATCHED = """
import os, time
from outlive.remote import Bucket

def trap(number):
    try:
        os.close(os.open({place!r} + f"/trap-{{number}}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    with open({place!r} + "/pid.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename({place!r} + "/pid.part", {place!r} + f"/pid-{{number}}")
    time.sleep(300)

create = Bucket.create

def creating(self, key, data):
    if key == "parts/3.csv":
        trap(0)
    made = create(self, key, data)
    if made and key.startswith("parts/"):
        with open({place!r} + "/published", "a") as file:
            file.write(key + "\\n")
    if key == "parts/5.csv":
        trap(1)
    return made

Bucket.create = creating
"""


def test_a_worker_of_dask_that_is_killed_in_a_step_loses_nothing(tmp_path, monkeypatch):
    """Two are killed, before they publish and before they mark: all parts are there, each published once."""
    pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    (tmp_path / "bucket").mkdir()
    (tmp_path / "patched.py").write_text(PATCHED.format(place=str(tmp_path)))
    program = (
        "import sys, dask_pipeline\n"
        "from distributed import Client\n"
        "if __name__ == '__main__':\n"
        "    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as dask:\n"
        "        dask_pipeline.main(sys.argv[1], dask)\n"
    )
    (tmp_path / "main.py").write_text(program)
    url = f"file://{tmp_path}/bucket"
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path / "dask"))  # else it leaves one in /tmp
    # Each worker preloads it, also one that takes the place of another.
    preload = {"PYTHONPATH": f"{tmp_path}:{EXAMPLES}", "DASK_DISTRIBUTED__WORKER__PRELOAD": "patched"}
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py"), url],
        env=os.environ | preload, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        for number in range(2):
            until(lambda number=number: (tmp_path / f"pid-{number}").exists() or run.poll() is not None)
            os.kill(int((tmp_path / f"pid-{number}").read_text()), signal.SIGKILL)
        said, _ = run.communicate(timeout=120)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said
    # A result that was only in the memory of a worker that died is asked for again.
    told = [line.split()[1] for line in said.splitlines() if line.startswith(("ran ", "marked ", "skipped "))]
    assert sorted(told) == [f"part-{number}" for number in range(8)]
    published = Counter((tmp_path / "published").read_text().split())
    assert published == {f"parts/{number}.csv": 1 for number in range(8)}
    shutil.move(tmp_path / "bucket", tmp_path / "killed")
    (tmp_path / "bucket").mkdir()
    again = [sys.executable, str(EXAMPLES / "dask_pipeline.py"), url]
    subprocess.run(again, check=True, capture_output=True, timeout=120, cwd=tmp_path)
    for path in (tmp_path / "bucket").rglob("*.csv"):
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "bucket")).read_bytes()
    assert len(list((tmp_path / "bucket").rglob("*.csv"))) == 9
