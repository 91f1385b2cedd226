"""Outputs and markers on object stores: a real S3 API, a directory, memory; and on Dask."""

import errno
import hashlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="needs obstore: pip install 'outlive[remote]'")

from obstore.store import LocalStore, MemoryStore, S3Store

from outlive._system import durability as _durability
from outlive.remote import Bucket, RemoteCheckpoints, RemoteError

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


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
    with pytest.raises(RemoteError, match=r"its output 'clean\.csv' does not exist"):
        run.mark_done("clean", outputs=out)
    bucket.put("clean.csv", "1")
    assert run.mark_done("clean", outputs=out)
    assert not run.mark_done("clean", outputs=out)
    assert run.step_done("clean", outputs=out)
    assert run.step_done("clean")
    assert run.why("clean", outputs=out) == run.why("clean") == "clean will not run: it is done"
    assert run.why("clean", outputs=["b"]) == f"clean will run: its outputs were {out} and are ['b']"
    assert run.why("clean", outputs=[]) == f"clean will run: its outputs were {out} and are []"
    bucket.put("clean.csv", "22")
    assert run.why("clean", outputs=out).endswith("'clean.csv' is not what it was when the step was marked")
    assert run.mark_done("clean", outputs=out)
    assert run.step_done("clean", outputs=out)
    bucket.delete("clean.csv")
    assert run.why("clean", outputs=out) == "clean will run: its output 'clean.csv' does not exist"


@pytest.mark.parametrize("kind", ["a URL", "a directory", "a store of obstore", "s3fs"])
def test_it_goes_to_another_process(kind, s3, tmp_path):
    """Pickled, as by a pool or Dask, it opens the same store with its options, and knows the same marks."""
    if kind == "a URL":
        bucket = Bucket("s3://bucket", prefix=tmp_path.name, timeout=20, **s3)
    elif kind == "a directory":
        bucket = Bucket(tmp_path.as_uri())
    elif kind == "a store of obstore":
        bucket = Bucket(S3Store("bucket", **s3), prefix=f"{tmp_path.name}/2")
    else:
        s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
        at = {"endpoint_url": s3["endpoint"], "key": s3["access_key_id"], "secret": s3["secret_access_key"]}
        bucket = Bucket(s3fs.S3FileSystem(**at), prefix=f"bucket/{tmp_path.name}/3")
    run = RemoteCheckpoints(bucket, run_id="monday")
    bucket.put("out", "1")
    run.mark_done("s", outputs="out")
    again = pickle.loads(pickle.dumps(run))  # noqa: S301 - our own
    assert repr(again) == repr(run)
    assert again.step_done("s", outputs="out")
    assert again.done() == ["s"]
    again.bucket.put("out", "2")
    assert not run.step_done("s")


def test_names_of_devices(tmp_path):
    """In a directory no marker has a name that Windows takes for a device."""
    run = RemoteCheckpoints(Bucket(tmp_path.as_uri()), run_id="con")
    for name in ("aux", "nul", "AUX"):
        run.mark_done(name)
    assert run.done() == ["AUX", "aux", "nul"]
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    names = {part.partition(".")[0].lower() for path in made for part in path.parts}
    assert names.isdisjoint({"con", "aux", "nul"})


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


def test_a_store_that_does_not_answer_is_given_up_in_time_whatever_its_client_is_told():
    """A server that is silent: timeout= holds also where client_options are given."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bucket = Bucket(
            "s3://bucket/x", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", region="r",
            skip_signature=True, timeout=0.5, client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )  # fmt: skip
        begun = time.monotonic()
        with pytest.raises(RemoteError, match="s3://bucket/x"):
            bucket.get("k")
        assert time.monotonic() - begun < 10


@pytest.fixture(params=["obstore", "fsspec"])
def nowhere(request, s3):
    """A bucket that does not exist, asked through each client."""
    if request.param == "obstore":
        return Bucket("s3://nowhere", **s3)
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    at = {"endpoint_url": s3["endpoint"], "key": s3["access_key_id"], "secret": s3["secret_access_key"]}
    return Bucket(s3fs.S3FileSystem(**at), prefix="nowhere")


def test_a_bucket_that_is_not_there_is_no_missing_marker(nowhere):
    """Whatever is asked of it, it says so."""
    run = RemoteCheckpoints(nowhere)
    for ask in (
        lambda: nowhere.put("k", "1"),
        lambda: nowhere.get("k"),
        lambda: nowhere.stat("k"),
        lambda: nowhere.create("k", "1"),
        lambda: nowhere.replace("k", "1", tag="x"),
        lambda: nowhere.delete("k"),
        nowhere.names,
        lambda: run.step_done("s"),
        lambda: run.mark_done("s"),
        run.done,
        lambda: run.clear("s"),
        run.clear,
    ):
        with pytest.raises(RemoteError, match=r"cannot be .* in .*nowhere"):
            ask()


def test_a_bucket_that_may_not_be_listed_can_be_read():
    """It cannot be told from one that is not there, and an object of it is missing."""
    with served(lists=False) as (bucket, _):
        assert bucket.get("k") is None
        assert bucket.create("k", "1")


def fsspec_systems():
    """File systems of fsspec that do not replace a file in one step, or make one on a condition."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from fsspec.implementations.dirfs import DirFileSystem

    local = fsspec.filesystem("file")

    class Own(type(fsspec.filesystem("memory"))):
        def pipe_file(self, _path, _value, mode="overwrite"):
            raise AssertionError(mode)

    yield local
    yield DirFileSystem("/tmp", local)
    yield AsyncFileSystemWrapper(local)
    yield DirFileSystem("x", AsyncFileSystemWrapper(local, asynchronous=False))
    yield fsspec.filesystem("reference", fo={})
    yield fsspec.filesystem("simplecache", target_protocol="memory")
    yield Own()
    obstore = pytest.importorskip("obstore.fsspec")
    yield obstore.FsspecStore("memory")


def test_a_file_system_whose_writes_are_not_whole_is_refused():
    """Also behind a wrapper: a reader would find half of a file, or two would be told that they made it."""
    for system in fsspec_systems():
        for prefix in ("", "/tmp/x"):
            with pytest.raises(TypeError, match=f"store=.*{type(system).__name__}.*file:///DIRECTORY"):
                Bucket(system, prefix=prefix)


def test_a_file_system_behind_a_wrapper_is_known():
    """A directory of one that makes objects whole is one, too."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    from fsspec.implementations.dirfs import DirFileSystem

    bucket = Bucket(DirFileSystem("/behind", fsspec.filesystem("memory", skip_instance_cache=True)))
    assert bucket.create("k", "1")
    assert not bucket.create("k", "1")
    assert bucket.names() == ["k"]


def test_of_many_that_create_one_does_also_in_memory_of_fsspec(monkeypatch):
    """It looks and then writes: another that comes in between is kept out."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    system = type(fsspec.filesystem("memory"))
    exists = system.exists

    def slowly(self, path, **options):
        found = exists(self, path, **options)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(system, "exists", slowly)
    buckets = [Bucket(system(global_store=True), prefix="raced") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda bucket: bucket.create("k", "1"), buckets))
    buckets[0].delete("k")
    assert sorted(told) == [False, True]


def test_a_client_without_a_conditional_put_is_refused():
    """Old versions of it would replace what is there, and say that they had made it."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    bucket = Bucket(fsspec.filesystem("memory"))
    bucket._store._has_create = False
    with pytest.raises(RemoteError, match="MemoryFileSystem has no conditional put"):
        bucket.create("k", "1")


def test_a_listing_that_fails_is_no_empty_one(monkeypatch):
    """Else clear() would forget nothing, without a word."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")

    def fails(*_, **__):
        raise OSError("500: the listing failed")

    system = fsspec.filesystem("memory")
    monkeypatch.setattr(type(system), "ls", fails)
    monkeypatch.setattr(type(system), "find", fails)
    run = RemoteCheckpoints(Bucket(system, prefix="x"))
    for ask in (run.bucket.names, run.done, run.clear):
        with pytest.raises(RemoteError, match="500: the listing failed"):
            ask()


def test_a_directory_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    """Nor is one below it; one that goes meanwhile is."""
    run = RemoteCheckpoints(Bucket(f"file://{tmp_path}"))
    run.mark_done("s")
    scandir, why = os.scandir, []

    def refuses(path):
        if str(path).endswith("%"):
            raise OSError(why[0], os.strerror(why[0]), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    why[:] = [errno.EACCES]
    for ask in (run.bucket.names, run.done, run.clear):
        with pytest.raises(RemoteError, match="Permission denied"):
            ask()
    why[:] = [errno.ENOENT]
    assert run.done() == []


def test_a_store_that_tells_no_tag_is_refused(monkeypatch):
    """Another content of the same size would be taken for the old one."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    system = fsspec.filesystem("memory")
    known = type(system).info
    monkeypatch.setattr(
        type(system), "info", lambda self, path: known(self, path) | {"created": None, "modify": 1}
    )
    bucket = Bucket(system, prefix="untagged")
    bucket.put("k", "1")
    for ask in (
        lambda: bucket.stat("k"),
        lambda: RemoteCheckpoints(bucket).mark_done("s", outputs=["k"]),
    ):
        with pytest.raises(RemoteError, match="it has no entity tag"):
            ask()
    assert not bucket.replace("k", "2", tag="")
    assert bucket.get("k") == b"1"


def test_what_is_not_there_is_not_replaced(bucket):
    """False, of each kind of store, and nothing is made."""
    assert not bucket.replace("none", "1", tag="x")
    assert bucket.get("none") is None


def test_an_output_may_be_named_twice_or_alone(bucket):
    """It is one output."""
    run = RemoteCheckpoints(bucket)
    bucket.put("out", "1")
    assert run.mark_done("twice", outputs=["out", "out"])
    assert run.step_done("twice", outputs=["out", "out"])
    assert run.step_done("twice", outputs="out")
    assert run.step_done("twice", outputs=iter(["out"]))


# -- a directory ---------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch):
    """What is fsynced, in order."""
    found, fsync = [], os.fsync

    def record(descriptor):
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return found


def test_a_put_that_is_killed_leaves_what_was_there(tmp_path):
    """In the middle of its write; the next one leaves no rest of it."""
    bucket = Bucket(f"file://{tmp_path}")
    bucket.put("k", "old content")
    program = (
        "import resource, signal\n"
        "from outlive.remote import Bucket\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"Bucket('file://{tmp_path}').put('k', 'n' * 100_000)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGXFSZ
    assert bucket.get("k") == b"old content"
    assert bucket.names() == ["k"]
    bucket.put("k", "new")
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize(
    "put",
    [
        lambda bucket: bucket.put("a/k", "1"),
        lambda bucket: bucket.put("a/k", Path(__file__)),
        lambda bucket: bucket.create("a/k", "1"),
        lambda bucket: RemoteCheckpoints(bucket).mark_done("s"),
    ],
)
def test_what_is_put_into_a_directory_is_on_the_disk(tmp_path, synced, put):
    """Its content before its name: a marker does not outlast its output."""
    put(Bucket(LocalStore(tmp_path)))
    made = next(path for path in tmp_path.rglob("*") if path.is_file())
    assert synced[-1] == made.parent
    assert synced[-2].name == f".{made.name}.0.outlive-tmp"


def test_what_a_killed_writer_left_is_on_the_disk_before_it_is_relied_on(tmp_path, synced):
    """An output that create() finds, one that is marked, and a mark that is believed: their names last."""
    bucket = Bucket(f"file://{tmp_path}")
    run = RemoteCheckpoints(bucket)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0").write_text("0")
    assert not bucket.create("parts/0", "0")
    assert synced[-1] == tmp_path / "parts"
    synced.clear()
    run.mark_done("part", outputs="parts/0")
    markers = tmp_path / ".checkpoints" / "%"
    assert synced.index(tmp_path / "parts") < synced.index(markers)
    synced.clear()
    assert run.step_done("part", outputs="parts/0")
    assert synced == [markers]


def test_what_may_not_last_is_not_tried_again(tmp_path, monkeypatch):
    """An fsync of the directory that fails is an error of durability."""
    bucket = Bucket(f"file://{tmp_path}")
    monkeypatch.setattr(_durability.os, "fsync", raising(OSError(errno.EIO, "broken")))
    with pytest.raises(RemoteError, match=r"key='k' cannot be written in file:///.*broken") as told:
        bucket.put("k", "1")
    assert told.value.outlive_durability


def raising(error):
    def fails(*_):
        raise error

    return fails


@pytest.mark.parametrize("key", ["../k", "a/../../k", "a/./k", "a//k", "..", "a\0b", ".k.0.outlive-tmp"])
def test_no_key_leads_out_of_a_directory(tmp_path, key):
    """Nor has one file two names, or that of a temporary."""
    (tmp_path / "in").mkdir()
    bucket = Bucket(f"file://{tmp_path}/in")
    for ask in (lambda: bucket.put(key, "1"), lambda: bucket.get(key), lambda: bucket.delete(key)):
        with pytest.raises(RemoteError, match="cannot be a key in a directory"):
            ask()
    assert [one.name for one in tmp_path.rglob("*")] == ["in"]


def test_a_url_of_a_directory_is_decoded(tmp_path):
    """That of a path with a blank in it, as pathlib writes it; prefix= is below."""
    (tmp_path / "a b#").mkdir()
    Bucket((tmp_path / "a b#").as_uri(), prefix="/x/").put("k", "1")
    assert (tmp_path / "a b#" / "x" / "k").read_text() == "1"


@pytest.mark.parametrize("key", ["folder", "file/below"])
def test_what_no_object_of_a_directory_can_be_is_none(tmp_path, key):
    """A directory, and what is below a file: there is none, as on any other store, and nothing to remove."""
    bucket = Bucket(f"file://{tmp_path}")
    bucket.put("folder/one", "1")
    bucket.put("file", "1")
    assert (bucket.get(key), bucket.stat(key)) == (None, None)
    bucket.delete(key)
    assert bucket.names() == ["file", "folder/one"]
    assert not bucket.replace(key, "2", tag="x")


def test_an_output_in_a_directory_is_known_by_its_content(tmp_path):
    """Changed in place with its time set back, it is another; copied to another directory, it is the same."""
    bucket = Bucket(f"file://{tmp_path}")
    run = RemoteCheckpoints(bucket)
    bucket.put("out", "good")
    run.mark_done("s", outputs="out")
    copy = shutil.copytree(tmp_path, tmp_path / "copy")
    assert RemoteCheckpoints(Bucket(copy.as_uri())).step_done("s", outputs="out")
    before = (tmp_path / "out").stat()
    with (tmp_path / "out").open("r+") as file:
        file.write("BAD!")
    os.utime(tmp_path / "out", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not run.step_done("s", outputs="out")


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_a_step_may_have_a_long_name(kind, request, tmp_path):
    """One that no file could have, and no two of them share a marker."""
    options = request.getfixturevalue("s3") if kind == "s3" else {}
    bucket = Bucket(f"s3://bucket/{tmp_path.name}" if options else f"file://{tmp_path}", **options)
    names = ["\u00e9" * 300, "\u00e9" * 301, "x" * 300, "x" * 200]
    run = RemoteCheckpoints(bucket, run_id="y" * 300)
    for name in names:
        assert not run.step_done(name)
        assert run.mark_done(name)
    assert run.done() == sorted(names)
    run.clear(names[0])
    assert run.done() == sorted(names[1:])


# -- a store whose answers are lost --------------------------------------------------------------------


class Lossy(BaseHTTPRequestHandler):
    """S3 with conditional puts, of which the next answers can be lost."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        old = self.server.objects.get(self.path)
        wanted, absent = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if (absent and old) or (wanted and (old is None or old[1] != wanted)):
            return self.answer(412)
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        self.server.objects[self.path] = content, tag
        if self.server.lost:
            return self.answer(self.server.lost.pop())
        return self.answer(200, ETag=tag)

    def do_GET(self):
        if "list-type" in self.path:
            return self.answer(200 if self.server.lists else 403, b"<ListBucketResult/>")
        if self.path not in self.server.objects:
            return self.answer(404)
        content, tag = self.server.objects[self.path]
        body = b"" if self.command == "HEAD" else content
        when = "Mon, 01 Jan 2024 00:00:00 GMT"
        return self.answer(200, body, len(content), ETag=tag, Last_Modified=when)

    do_HEAD = do_GET  # noqa: N815 - as it is called


@contextmanager
def served(*, lists=True):
    """Give a bucket on that store, and its server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lossy)
    server.objects, server.lost, server.lists = {}, [], lists
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        at = f"http://127.0.0.1:{server.server_port}"
        yield Bucket("s3://b", endpoint=at, region="r", skip_signature=True, client_options=HTTP), server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


HTTP = {"allow_http": True}


def test_who_marked_a_step_is_told_so_also_when_the_answer_is_lost():
    """The client puts it again and meets its own marker, a new one or one that it replaced."""
    with served() as (bucket, server):
        run = RemoteCheckpoints(bucket)
        bucket.put("out", "1")
        server.lost.append(503)
        assert run.mark_done("s", outputs=["out"])
        bucket.put("out", "2")
        server.lost.append(503)
        assert run.mark_done("s", outputs=["out"])
        assert not server.lost
        assert not run.mark_done("s", outputs=["out"])
        assert not RemoteCheckpoints(bucket).mark_done("s", outputs=["out"])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Bucket(3), TypeError, "store=3 is neither a URL"),
        (lambda: Bucket("nonsense"), ValueError, "store='nonsense' cannot be opened"),
        (lambda: Bucket("s3://b", timeout=0), ValueError, "timeout=0 is not a number of seconds over 0"),
        (lambda: Bucket(MemoryStore(), region="x"), TypeError, "region= is for a URL"),
        (
            lambda: Bucket("memory:///", region="x"),
            TypeError,
            "region= is not an option for store='memory:///'",
        ),
        (lambda: Bucket("file:///", region="x"), TypeError, "region= is not an option for store='file:///'"),
        (lambda: Bucket("file:///no/such"), RemoteError, "'/no/such' is not a directory"),
        (lambda: Bucket("file://host/tmp"), ValueError, "names another machine"),
        (lambda: Bucket("file:///tmp?x"), ValueError, "give Path.as_uri"),
        (lambda: Bucket(MemoryStore()).get(""), ValueError, "key='' is empty"),
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


def test_a_child_that_is_forked_after_a_request_is_told_so():
    """The client's threads are not there, for which it would wait for ever; before a request all is well."""
    program = (
        "import os\n"
        "from outlive.remote import Bucket, RemoteError\n"
        "bucket = Bucket('memory://')\n"
        "for request in (str, bucket.get):\n"
        "    request('k')\n"
        "    if (child := os.fork()) == 0:\n"
        "        try:\n"
        "            Bucket('memory://').put('k', '1')\n"
        "        except RemoteError as error:\n"
        "            print(error)\n"
        "        else:\n"
        "            print('put')\n"
        "        os.sys.stdout.flush()\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert said[0] == "put"
    assert said[1].startswith("key='k' cannot be written in memory://: this process was forked")


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


def test_a_part_that_is_missing_is_not_left_out_of_the_total_on_dask(tmp_path, monkeypatch):
    """The example joins all parts or none: what is missing ends it, and no total is written."""
    pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    monkeypatch.syspath_prepend(EXAMPLES)
    import dask_pipeline

    url = tmp_path.as_uri()
    for number in range(dask_pipeline.PARTS):
        dask_pipeline.part(url, number)
    dask_pipeline.total(url)
    whole = (tmp_path / "total.csv").read_bytes()
    (tmp_path / "total.csv").unlink()
    (tmp_path / "parts" / "3.csv").unlink()
    with pytest.raises(RuntimeError, match=r"^parts \[3\] are not in file:"):
        dask_pipeline.total(url)
    assert not (tmp_path / "total.csv").exists()
    dask_pipeline.part(url, 3)
    dask_pipeline.total(url)
    assert (tmp_path / "total.csv").read_bytes() == whole
