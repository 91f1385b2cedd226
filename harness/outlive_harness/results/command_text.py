"""A command that is given as one text: split as a shell would split it, or run by one."""

from __future__ import annotations

import re
import shlex

from .value_kinds import ScenarioError

_OPERATORS = frozenset("();<>|&")


def words_of(key: str, text: str) -> list[str]:
    """Return the words of a command; a command that needs a shell becomes ``sh -c``.

    Args:
        key: how messages name what was given, as ``--from``.
        text: the command.

    Raises:
        ScenarioError: a quote is not closed, or the text holds no command.
    """
    try:
        words = shlex.split(text)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        has_operator = any(_OPERATORS.issuperset(token) for token in lexer if token)
    except ValueError as error:
        raise ScenarioError(f"{key}={text!r} cannot be read: {error}") from error
    if not words or not words[0]:
        raise ScenarioError(f"{key}={text!r} holds no command")
    if has_operator or re.search(r"[$`\n]", text) or re.match(r"[A-Za-z_]\w*=", words[0]):
        return ["sh", "-c", text]
    return words
