"""Programs that only start another one: a shell whose text or script is one command, ``env`` and ``nice``.

A pipeline behind one of them is a plain program with variables and a directory of its own, and a Python
program is then seen as one. Quotes, ``cd`` and ``exec`` are understood, and nothing that a shell expands: any
other command stays as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from typing import NamedTuple

#: Where the usual ones are; a program of that name elsewhere may be anything.
_USUAL = ("", "/bin", "/usr/bin", "/usr/local/bin")
_SHELLS = ("sh", "dash", "bash")
#: Options of a shell that make no difference to a single command.
_TEXT_FOLLOWS = re.compile(r"-[eux]*c[eux]*")
#: Parts of a word: plain characters, text in quotes in which nothing is expanded, and whole parameters.
_PART = re.compile(
    r"(?P<plain>[A-Za-z0-9_@%+=:,./{}-]+)|'(?P<single>[^']*)'"
    r'|"(?P<double>[^"$`\\!]*)"|"\$(?P<given>[0-9@])"'
)
#: The first line of a script that a shell runs, with no options but those that make no difference.
_FIRST_LINE = re.compile(rb"#! ?(?:/usr)?/bin/(?:env )?(sh|dash|bash)(?: -[eu]+)?\s*\n")
_SET = re.compile(r"set -[eu]*(?:o pipefail)?")
#: How a script names the directory that it is in.
_BESIDE = re.compile(r'"\$\(dirname (?:-- )?"\$0"\)"|"\$\{0%/\*\}"')
#: Characters of a script that only starts a program.
_LONGEST = 4096
#: Variables that make a shell read another file first, or change to another directory.
_OTHERWISE = ("BASH_ENV", "CDPATH")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
#: Words that mean something to a shell itself (POSIX, and bash(1)), so that no program of that name is run.
_OWN_WORDS = frozenset({
    ".", ":", "[", "[[", "!", "{", "}", "alias", "bg", "break", "builtin", "caller", "case", "cd",
    "command", "compgen", "complete", "compopt", "continue", "coproc", "declare", "dirs", "disown", "do",
    "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg",
    "fi", "for", "function", "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let",
    "local", "logout", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly",
    "return", "select", "set", "shift", "shopt", "source", "suspend", "test", "then", "time", "times",
    "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
})  # fmt: skip


class Started(NamedTuple):
    """A program that is started, as run_spec_of() needs it.

    Attributes:
        argv: the program and its arguments.
        env: variables that it gets in addition, as NAME=VALUE.
        cwd: the directory that it runs in; None if nothing changes it.
        scripts: the scripts that say so.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str | None = None
    scripts: tuple[str, ...] = ()


def looked_through(argv: Sequence[str], *, here: str | None, path: str | None = None) -> Started:
    """Return the program that a command starts in the end, if it surely does nothing else; else the command.

    Args:
        argv: the command.
        here: the directory that it runs in; None if that is a box, where no directory is known.
        path: the PATH by which programs are found; None for that of this process.
    """
    found = Started(tuple(argv))
    while True:
        inner = _inner(found, here, path)
        if inner is None:
            return found
        scripts = (*found.scripts, *inner.scripts)
        found = Started(inner.argv, (*found.env, *inner.env), inner.cwd or found.cwd, scripts)
        here = found.cwd or here


def _inner(outer: Started, here: str | None, path: str | None) -> Started | None:
    """Return what a program starts; None if it is none of those known, or does more than that."""
    directory, name = os.path.split(outer.argv[0])
    rest = outer.argv[1:]
    is_script = _interpreter(os.path.join(here or "", outer.argv[0])) in _SHELLS
    if (is_script or name in _SHELLS) and any(one in os.environ for one in _OTHERWISE):
        return None
    if is_script:
        inner = _of_script(outer.argv, here)
    elif directory not in _USUAL:
        return None
    elif name in _SHELLS and len(rest) > 1 and _TEXT_FOLLOWS.fullmatch(rest[0]):
        inner = _of_shell(rest[1].strip().split("&&"), rest[2:], here)
    elif name in _SHELLS and rest and not rest[0].startswith("-"):
        inner = _of_script(rest, here)
    elif name == "env":
        count = next((at for at, word in enumerate(rest) if not _ASSIGNMENT.match(word)), len(rest))
        inner = Started(rest[count:], rest[:count])
    elif name == "nice":
        inner = Started(rest[2:] if rest[:1] == ("-n",) else rest)
    else:
        return None
    if inner is None or not inner.argv or inner.argv[0].startswith("-"):
        return None
    variables = dict(one.split("=", 1) for one in (*outer.env, *inner.env))
    program = inner.argv[0]
    is_found = os.sep in program or shutil.which(program, path=variables.get("PATH", path)) is not None
    return inner if is_found else None


def _of_shell(
    texts: Sequence[str], given: Sequence[str], here: str | None, *, execs: bool = False
) -> Started | None:
    """Return what the last of a shell's commands starts, if the others change its directory and variables.

    Args:
        texts: the commands.
        given: the parameters of the shell, from ``$0`` on.
        here: the directory that it runs in; None if that is a box.
        execs: whether the last command must take the shell's place by ``exec``.
    """
    commands = [_words(one, given) for one in texts]
    cwd = None
    env: list[str] = []
    for words in commands[:-1]:
        if words is not None and len(words) > 1 and words[0] == ("export", True):
            if not all(is_plain and _ASSIGNMENT.match(word) for word, is_plain in words[1:]):
                return None
            env += [word for word, _ in words[1:]]
            continue
        if words is None or len(words) != 2 or words[0] != ("cd", True):
            return None
        cwd = os.path.join(cwd or here or "", words[1][0])
        if not os.path.isabs(cwd) or not os.path.isdir(cwd):
            return None
    words = commands[-1]
    if not words:
        return None
    while words and words[0][1] and _ASSIGNMENT.match(words[0][0]):
        env.append(words[0][0])
        words = words[1:]
    if words[:1] == [("exec", True)]:
        words = words[1:]
    elif execs or (words and words[0][0] in _OWN_WORDS):
        return None
    return Started(tuple(word for word, _ in words), tuple(env), cwd)


def _of_script(given: Sequence[str], here: str | None) -> Started | None:
    """Return what a script of a shell starts; *given* are its name and its arguments."""
    script = os.path.join(here or "", given[0])
    if not os.path.isabs(script):  # it is in the box, and not known beforehand
        return None
    try:
        with open(script, encoding="ascii") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError):
        return None
    directory = os.path.dirname(script)
    if len(text) > _LONGEST or "'" in directory:
        return None
    text = _BESIDE.sub(lambda _: f"'{directory}'", text)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#") and not _SET.fullmatch(line)]
    commands = [one for line in lines for one in line.split("&&")]
    found = _of_shell(commands, given, here, execs=True) if commands else None
    return None if found is None else found._replace(scripts=(script,))


def _interpreter(program: str) -> str:
    """Return the name of the program that runs a script by its first line; "" if it is none."""
    if not os.path.isabs(program) or not os.access(program, os.X_OK):
        return ""
    try:
        with open(program, "rb") as file:
            first = file.readline(128)
    except OSError:
        return ""
    match = _FIRST_LINE.fullmatch(first)
    return match[1].decode() if match else ""


def _words(text: str, given: Sequence[str]) -> list[tuple[str, bool]] | None:
    """Return the words of a simple command, and whether each begins without quotes; None if it is none.

    Args:
        text: the command.
        given: the parameters of the shell, from ``$0`` on.
    """
    words: list[tuple[str, bool]] = []
    for word in re.findall(r"""(?:[^ \t'"]|'[^']*'|"[^"]*"|['"])+""", text):
        if word == '"$@"':
            words += [(one, False) for one in given[1:]]
            continue
        pieces, at = [], 0
        while at < len(word):
            part = _PART.match(word, at)
            piece = None if part is None else _piece(part, given)
            if part is None or piece is None:
                return None
            pieces.append(piece)
            at = part.end()
        words.append(("".join(pieces), word[0] not in "'\""))
    return words


def _piece(part: re.Match[str], given: Sequence[str]) -> str | None:
    """Return what a part of a word stands for; None if that is not known."""
    if part["given"]:
        number = part["given"]
        return given[int(number)] if number.isdigit() and int(number) < len(given) else None
    plain = part["plain"] or ""
    if {"{", "}"} & {*plain.replace("{box}", "")}:  # bash expands braces
        return None
    return plain or part["single"] or part["double"] or ""
