"""The expression of -k, as pytest has it: parts of names, with and, or, not and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from outlive_harness.results.scenario import ScenarioError

#: Whether an expression is true of something that has some names.
Matcher = Callable[[Sequence[str]], bool]
_WORDS = ("and", "or", "not", "(", ")")


def parse(text: str) -> Matcher:
    """Return the matcher of an expression; a part of a name is found in it whatever the case of its letters.

    Raises:
        ScenarioError: it is not an expression.
    """
    reader = _Reader(text)
    found = reader.alternatives()
    if reader.next:
        raise reader.error(f"{reader.next!r} comes where and, or, or its end should be")
    return found


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = re.findall(r"[()]|[^\s()]+", text)

    @property
    def next(self) -> str:
        """The next word; "" at the end."""
        return self._words[0] if self._words else ""

    def error(self, why: str) -> ScenarioError:
        return ScenarioError(f"-k={self._text!r} must be parts of names with and, or, not and ( ): {why}")

    def alternatives(self) -> Matcher:
        several = [self._together()]
        while self.next == "or":
            self._words.pop(0)
            several.append(self._together())
        return lambda names: any(one(names) for one in several)

    def _together(self) -> Matcher:
        several = [self._one()]
        while self.next == "and":
            self._words.pop(0)
            several.append(self._one())
        return lambda names: all(one(names) for one in several)

    def _one(self) -> Matcher:
        word = self._words.pop(0) if self._words else ""
        if word == "not":
            inner = self._one()
            return lambda names: not inner(names)
        if word == "(":
            inner = self.alternatives()
            if not self._words or self._words.pop(0) != ")":
                raise self.error("a ) is missing")
            return inner
        if not word or word in _WORDS:
            raise self.error(f"a name is missing before {word!r}" if word else "a name is missing at its end")
        part = word.lower()
        return lambda names: any(part in name.lower() for name in names)
