"""Calls that reach beyond the run's own files and processes: sockets and signals."""

from __future__ import annotations

import errno
import os

import psutil

from outlive_harness.intercept import signals
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.peers import addresses, is_outside

from .context import Context, Decode

_HOW_TO_SEND = "let the command start what it sends signals to, for example by sh -c"


def _contact(run: Context, name: str, tid: int, a: Arguments) -> None:
    """Note whom the run talks to: no crash state holds what it does there."""
    for address in addresses(name, tid, a):
        path = os.fsencode(address.path)
        if path.startswith(run.prefix):
            continue  # only the run itself binds sockets in its box
        tree = [child.pid for child in psutil.Process().children(recursive=True)]
        if is_outside(tid, address, tree):
            run.effects[address.text] = run.effects.get(address.text, 0) + 1


def _signal(run: Context, name: str, tid: int, a: Arguments) -> None:
    whom = signals.outsider(name, tid, a, run.spared)
    if whom:
        number = signals.name_of(a[signals.CALLS[name]])
        run.refuse(
            errno.EPERM, f"was not allowed to send {number} to {whom}, outside the run; {_HOW_TO_SEND}"
        )


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("connect", "sendto", "sendmsg", "sendmmsg"), _contact),
    **dict.fromkeys(signals.CALLS, _signal),
}
