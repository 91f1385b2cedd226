"""The instant at which a lent clock stands: read from ISO 8601, and written in one form.

This module is imported in runs of a function scenario that names an instant, so it imports next to nothing.
"""

from __future__ import annotations

import re

#: The instant of ``freeze=True``: the same for all scenarios, machines and sessions, so that a golden run, a
#: kept failure and its replay agree without being told. It is past, so no file or lock looks old to a program
#: that compares ages; and it has a fraction, so times are written as long as real ones.
DEFAULT = "2026-01-02T03:04:05.678901234Z"
#: Nanoseconds of a second.
SECOND = 10**9

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)",
    re.ASCII | re.IGNORECASE,
)


def nanoseconds(text: str) -> int:
    """Return the nanoseconds from 1970-01-01T00:00:00Z to an instant.

    Args:
        text: a date and a time of day with an offset from UTC or a Z (ISO 8601, RFC 3339).

    Raises:
        ValueError: it is not of that form, does not exist, or lies before 1970; the message says which.
    """
    import datetime as dt  # noqa: PLC0415 - slow to import, and no run without an instant needs it

    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("must be a date and a time with an offset or Z, as 2026-03-29T01:59:59+01:00")
    day, minute, second, fraction, offset = match.groups()
    zone = "+00:00" if offset in "zZ" else offset
    try:
        moment = dt.datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{zone}")
        since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"does not exist: {error}") from error
    if since.days < 0:
        raise ValueError("lies before 1970, where the clocks of Unix begin")
    return (since.days * 86400 + since.seconds) * SECOND + int((fraction or "0").ljust(9, "0"))


def canonical(text: str) -> str:
    """Return the one form of an instant: in UTC, with a Z, and with the fraction of a second that it has.

    Raises:
        ValueError: as nanoseconds().
    """
    import datetime as dt  # noqa: PLC0415 - see above

    seconds, rest = divmod(nanoseconds(text), SECOND)
    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)  # noqa: DTZ001 - UTC
    except OverflowError as error:
        raise ValueError("does not exist in UTC: its year would be 10000") from error
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{moment.isoformat()}{fraction}Z"
