"""Addresses of socket calls: one outside the run's processes is an effect that is not judged.

Sources: socket(7), ip(7), ipv6(7), unix(7), vsock(7), proc_pid_net(5), connect(2), sendmsg(2), sendmmsg(2).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from outlive_harness import abi

from .memory import read_memory
from .paths import locate

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


class Address(NamedTuple):
    """The address that a call sends to.

    Attributes:
        text: as it is shown: ``127.0.0.1:5432``, ``[::1]:80``, ``unix:/run/db.sock``.
        host: the host of an internet address; else None.
        port: its port; else 0.
        path: the real path of a Unix socket, or ``@`` and its abstract name; else "".
    """

    text: str
    host: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    port: int = 0
    path: str = ""


def addresses(name: str, tid: int, a: tuple[int, ...]) -> Iterator[Address]:
    """Yield the addresses that a call names: none for a send on a connected socket.

    Raises:
        OSError: the task's memory cannot be read.
    """
    if name in ("connect", "sendto"):
        pointer, length = (a[1], a[2]) if name == "connect" else (a[4], a[5])
        pairs: Iterable[tuple[int, int]] = [(pointer, length & 0xFFFFFFFF)]
    elif name == "sendmsg":
        pairs = _names(read_memory(tid, a[1], abi.MSGHDR), abi.MSGHDR)
    else:
        count = min(a[2] & 0xFFFFFFFF, abi.UIO_MAXIOV)
        pairs = _names(read_memory(tid, a[1], abi.MMSGHDR * count), abi.MMSGHDR)
    for pointer, length in pairs:
        raw = read_memory(tid, pointer, min(length, abi.SOCKADDR_STORAGE)) if pointer else b""
        found = _parsed(tid, raw) if len(raw) > 2 else None
        if found is not None:
            yield found


def _names(raw: bytes, size: int) -> list[tuple[int, int]]:
    """Return the (address, length) of each name in an array of structs that begin with a struct msghdr."""
    return [struct.unpack_from("=QI", raw, at) for at in range(0, len(raw) - size + 1, size)]


def _parsed(tid: int, raw: bytes) -> Address | None:
    """Parse a struct sockaddr; None for a family that sends nothing: AF_UNSPEC, AF_NETLINK, ..."""
    family = int.from_bytes(raw[:2], sys.byteorder)
    if family == abi.AF_UNIX:
        return _unix(tid, raw[2:])
    if family in (abi.AF_INET, abi.AF_INET6):
        needs = 8 if family == abi.AF_INET else 24
        if len(raw) < needs:
            return None
        port = int.from_bytes(raw[2:4], "big")
        host = ipaddress.ip_address(raw[4:8] if family == abi.AF_INET else raw[8:24])
        mapped = getattr(host, "ipv4_mapped", None)
        host = mapped or host
        # Port 0 only asks for a route, as getaddrinfo(3) does to order addresses (RFC 6724).
        text = f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}"
        return Address(text, host, port) if port else None
    if family == abi.AF_VSOCK and len(raw) >= 12:
        port, cid = struct.unpack_from("=II", raw, 4)
        return Address(f"vsock:{cid}:{port}")
    return None


def _unix(tid: int, raw: bytes) -> Address | None:
    if raw.startswith(b"\0"):
        name = "@" + os.fsdecode(raw[1:])
        return Address(f"unix:{name}", path=name)
    path = os.fsdecode(locate(tid, abi.AT_FDCWD, raw.partition(b"\0")[0], follow=True).path)
    return Address(f"unix:{path}", path=path) if path else None


def is_outside(tid: int, address: Address, tree: Iterable[int]) -> bool:
    """Return whether a process outside the tree serves an address, as far as that can be seen.

    A call to a local address that no process serves fails, and has no effect.

    Args:
        tid: the task that makes the call, in whose network namespace the address is.
        address: the address.
        tree: process ids of the run.
    """
    if address.host is not None:
        served = _serving(tid, address)
        if not served:
            return not address.host.is_loopback and not address.host.is_unspecified
    elif address.path:
        served = _bound(tid, address.path)
        if not served:
            return False
    else:
        return True
    return not served & _sockets(tree)


def _serving(tid: int, address: Address) -> set[str]:
    """Return the inodes of the sockets of this machine that serve an internet address."""
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for words in _table(tid, kind):
            host, _, port = words[1].partition(":")
            is_waiting = words[3] == _LISTENING or kind.startswith("udp")
            if is_waiting and int(port, 16) == address.port and _covers(host, address.host):
                found.add(words[9])
    return found - {"0"}


def _covers(text: str, host: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """Return whether a socket bound to an address, as /proc/net shows it, serves a host."""
    raw = bytes.fromhex(text)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    step = -1 if sys.byteorder == "little" else 1  # each word is shown as a native number
    bound = ipaddress.ip_address(b"".join(word[::step] for word in words))
    bound = getattr(bound, "ipv4_mapped", None) or bound
    is_any = host is not None and (host.is_unspecified or host.is_loopback)
    return bound == host or bound.is_unspecified or (is_any and bound.is_loopback)


def _bound(tid: int, path: str) -> set[str]:
    """Return the inodes of the Unix sockets that are bound to a path or an abstract name."""
    found = set()
    for words in _table(tid, "unix"):
        if len(words) > 7 and (words[7] == path or _is_same(words[7], path)):
            found.add(words[6])
    return found


def _is_same(bound: str, path: str) -> bool:
    """Return whether a socket bound by another path, perhaps a relative one, may be this one."""
    if bound.startswith("@") or path.startswith("@") or os.path.basename(bound) != os.path.basename(path):
        return False
    return not bound.startswith("/") or os.path.realpath(bound) == path


def _table(tid: int, kind: str) -> Iterator[list[str]]:
    with contextlib.suppress(OSError), open(f"/proc/{tid}/net/{kind}", errors="surrogateescape") as table:
        next(table, None)
        for line in table:
            yield line.rstrip("\n").split(None, 7 if kind == "unix" else -1)


def _sockets(pids: Iterable[int]) -> set[str]:
    """Return the inodes of the sockets that processes have open."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{name}")
                    if target.startswith("socket:["):
                        found.add(target[8:-1])
    return found
