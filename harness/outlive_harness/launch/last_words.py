"""A program's own account of its failure, in a line: its error message, else its last line."""

from __future__ import annotations

import re

#: The first line of a Python traceback, and the marks before each line of an exception group.
_TRACEBACK = re.compile(
    r"(?P<drawn> +[|+] )?.*?(?P<group>Exception Group )?Traceback \(most recent call last\):"
)
_DRAWN = re.compile(r"^ *(\| |\+[-+ 0-9.]*$)")
#: Lines that name an error in other languages: Node, the JVM, Go, Rust.
_ERROR = re.compile(
    r"(?:Uncaught )?(?:[\w$]+\.)*(?:[A-Z]\w*)?(?:Error|Exception)(?:: .*| \[.*)?"
    r"|Exception in thread .*|Caused by: .*|panic: .*|thread '.*' .*panicked at .*"
)
#: Characters that are kept, from the end.
MOST = 4000
#: Lines of standard output that are kept if there is a standard error.
_LINES = 10


def last_words(stderr: str, stdout: str) -> str:
    """Return the line that says most about a failure; "" if nothing was printed.

    For Python's last traceback this is the exception's type and the first line of its message; later lines
    are the rest of the message, or another program's.
    """
    lines = stderr.splitlines()
    found = _of_python(lines) or next(
        (line for line in reversed(lines) if _ERROR.fullmatch(line.strip())), ""
    )
    if not found:
        found = _last(lines)
    if not found:
        found = _last(stdout.splitlines())
        return f"{found.strip()} (on standard output)" if found else ""
    return found.strip()


def told(stderr: str, stdout: str) -> str:
    """Return the end of what a program printed: on standard output, in a few lines, and on standard error."""
    said, printed = stderr.strip()[-MOST:], stdout.strip()[-MOST:]
    if not printed:
        return said
    if not said:
        return f"its standard error is empty; its standard output ends with:\n{printed}"
    lines = printed.splitlines()[-_LINES:]
    return "\n".join(["its standard output ends with:", *lines, "its standard error ends with:", said])


def _of_python(lines: list[str]) -> str:
    """Return the exception of the last traceback."""
    for number in range(len(lines) - 1, -1, -1):
        begun = _TRACEBACK.fullmatch(lines[number])
        if begun is None:
            continue
        rest = (_DRAWN.sub("", line) if begun["drawn"] else line for line in lines[number + 1 :])
        found = [line for line in rest if line and not line[0].isspace()]
        # The exceptions of a group follow it; the last may have no traceback.
        return (found[-1] if begun["group"] else found[0]) if found else ""
    return ""


def _last(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")
