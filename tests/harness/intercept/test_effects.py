"""Effects outside of the box's files: whom a run talks to, and who writes its outputs for it."""

import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from outlive_harness.jobs.session import Session
from outlive_harness.report.json_report import scenario_data
from outlive_harness.report.text import details
from outlive_harness.results.verdicts import Verdict

SERVE = """
import array, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
while True:
    client, _ = server.accept()
    message, extra, _, _ = client.recvmsg(4096, socket.CMSG_SPACE(4))
    for _, _, data in extra:
        fd = array.array("i", data)[0]
        os.write(fd, b"x" * 5000)
        os.close(fd)
    if not extra:
        with open(message, "w") as file:
            file.write("x" * 5000)
    client.sendall(b"ok")
    client.close()
"""
ASKS = {
    "a descriptor": "fd = os.open('out', os.O_WRONLY | os.O_CREAT)\n    socket.send_fds(c, [b'f'], [fd])",
    "a descriptor, over what is there": "fd = os.open('out', os.O_RDWR | os.O_CREAT)\n"
    "    os.write(fd, b'y' * 5000); os.lseek(fd, 0, 0); socket.send_fds(c, [b'f'], [fd])",
    "a path": "c.sendall(os.path.abspath('out').encode())",
}


@pytest.fixture
def service(tmp_path):
    """A process outside of every run that writes what it is asked to; return its address."""
    address = str(tmp_path / "service.sock")
    with subprocess.Popen([sys.executable, "-c", SERVE, address], stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"ready\n"
        yield address
        server.kill()


@pytest.mark.parametrize("way", ASKS)
def test_an_output_that_another_process_writes_is_unknown(one, service, way):
    """No op made its bytes, or not all of them: no crash point can say anything of it."""
    result = one(f"""
@scenario(outputs="out")
def asks():
    import socket
    c = socket.socket(socket.AF_UNIX)
    c.connect({service!r})
    {ASKS[way]}
    c.recv(10)
""")
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.startswith("out: no op of the run accounts for what is there")


def test_it_is_the_bytes_that_tell(explored, service, sabotage):
    """The canary: without the comparison of ops with the output, no missing op is found."""
    sabotage(
        "from outlive_harness.trial import recordings; recordings.unexplained = lambda *args, **more: []"
    )
    source = f"""
@scenario(outputs="out")
def asks():
    import socket
    c = socket.socket(socket.AF_UNIX)
    c.connect({service!r})
    {ASKS["a descriptor"]}
    c.recv(10)
"""
    with Session(jobs=1) as session:
        (result,) = explored(source, within=session).scenarios
    assert result.verdict is not Verdict.UNKNOWN


def test_workers_that_write_one_file_at_once_are_no_strangers(one):
    """Ops are recorded before they run: two processes may write in the other order, and all is explained."""
    result = one("""
@scenario(outputs="log", append_only="log")
def workers():
    import subprocess
    code = "import os; fd = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\\n"
    code += "for n in range(60): os.write(fd, b'%d %d\\\\n' % ({number}, n))"
    codes = [code.replace("{number}", str(n)) for n in (1, 2)]
    several = [subprocess.Popen([sys.executable, "-S", "-c", one]) for one in codes]
    assert [one.wait() for one in several] == [0, 0]
""")
    assert "no op of the run accounts" not in result.reason


TALKS = """
import os, socket, sys
def talk():
    WAY
if not os.path.exists("done"):
    talk()
    open("t", "w").close()
    os.replace("t", "done")
"""
WAYS = {
    "tcp": (
        "127.0.0.1:PORT",
        "c = socket.create_connection(('127.0.0.1', PORT)); c.sendall(b'x'); c.recv(1)",
    ),
    "tcp, mapped": (
        "127.0.0.1:PORT",
        "c = socket.socket(socket.AF_INET6); c.connect(('::ffff:127.0.0.1', PORT)); c.sendall(b'x')",
    ),
    "udp": ("127.0.0.1:PORT", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))"),
    "udp by sendmsg": (
        "127.0.0.1:PORT",
        "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('127.0.0.1', PORT))",
    ),
    "unix": ("unix:PATH", "c = socket.socket(socket.AF_UNIX); c.connect('PATH'); c.sendall(b'x'); c.recv(1)"),
}


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """Services of this process, on loopback and on a Unix socket; return port and path."""
    path = str(tmp_path_factory.mktemp("echo") / "s")
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    unix, udp = socket.socket(socket.AF_UNIX), socket.socket(type=socket.SOCK_DGRAM)
    unix.bind(path)
    unix.listen()
    udp.bind(("127.0.0.1", port))

    def serve(server):
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    client.recv(1)
                    client.sendall(b"k")

    for server in (tcp, unix):
        threading.Thread(target=serve, args=(server,), daemon=True).start()
    yield port, path
    for server in (tcp, unix, udp):
        server.close()


@pytest.mark.parametrize("way", WAYS)
def test_whom_a_run_talks_to_is_named(one, echo, way):
    """Each address outside the run's processes is reported with the verdict, in words and as data."""
    address, code = (text.replace("PORT", str(echo[0])).replace("PATH", echo[1]) for text in WAYS[way])
    result = one(
        f"made = scenario(command=[sys.executable, '-c', {TALKS.replace('WAY', code)!r}], outputs='done')"
    )
    assert result.verdict is Verdict.HELD
    assert scenario_data(result)["effects"] == [{"address": address, "ops": 1}]
    assert any(line.startswith(f"not judged: effects at {address}") for line in details(result))


QUIET = {
    "its own server": "s = socket.create_server(('127.0.0.1', 0)); "
    "c = socket.create_connection(s.getsockname())",
    "its own, in the box": "s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); "
    "c = socket.socket(socket.AF_UNIX); c.connect('s'); os.unlink('s')",
    "a child's": "a, b = socket.socketpair(); os.fork() or os._exit(0); a.send(b'x')",
    "nobody": "socket.socket().connect_ex(('127.0.0.1', 1))",
    "a route alone": "socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 0))",
    "no such socket": "socket.socket(socket.AF_UNIX).connect_ex('/run/no/such/socket')",
    "the kernel": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))",
}


@pytest.mark.parametrize("way", QUIET)
def test_what_stays_within_the_run_is_no_effect(observe, box, way):
    """A run that talks to itself, or to an address that no process serves, has no effect outside."""
    seen = observe(sys.executable, "-c", TALKS.replace("WAY", QUIET[way]), reads=True)
    assert seen.code == 0, seen.stderr
    assert seen.effects == {}
    assert [path.name for path in box.iterdir()] == ["done"]
