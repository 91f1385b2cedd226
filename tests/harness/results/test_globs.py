"""Patterns: what a user's outputs, ignores and append-only globs match."""

import pytest

from outlive_harness.results.globs import matcher


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ("out/*", ["out/a", "out/a.h", "out/a\nb"], ["out", "out/.h", "out/a/b", "x/out/a"]),
        ("out/.*", ["out/.h", "out/.h.tmp"], ["out/h", "out/.d/h"]),
        ("out/?h", ["out/ah"], ["out/.h"]),
        ("out/[!a]h", ["out/bh"], ["out/.h", "out/ah"]),
        ("*/data", ["out/data", "out/data/x"], [".out/data"]),
        ("out/a*", ["out/a.h", "out/a"], ["out/.a"]),
        ("out/**", ["out/a", "out/a/b", "out/.h", "out/.d/.h"], ["out", "outer/a"]),
        ("**", ["a", "a/b/c", ".h", ".d/a"], []),
        ("**/*.csv", ["a.csv", "a/b/c.csv", ".d/a.csv"], ["a.csvx", "a/b", ".csv", "a/.b.csv"]),
        ("out/", ["out", "out/a", "out/a/b"], ["outer"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[ab]*", ["a1", "b"], ["c"]),
        ("[!ab]*", ["c"], ["a1", "b"]),
        ("[x", ["[x"], ["x"]),
        ("./out/a+b.txt", ["out/a+b.txt"], ["out/aab.txt"]),
    ],
)
def test_patterns_match_as_documented(pattern, hits, misses):
    """One star stays in a directory and off hidden names, two cross all, a slash means all below."""
    match = matcher([pattern])
    assert all(match(path) for path in hits)
    assert not any(match(path) for path in misses)


def test_no_pattern_matches_nothing():
    """An empty list is no wildcard."""
    assert not matcher([])("a")


def test_a_whole_name_is_a_directory_s_too():
    """Without a slash at its end as with one, and not where its last part is a wildcard."""
    for pattern in ("out", "out/", "**/out", "./out"):
        assert matcher([pattern])("out/a/b"), pattern
    for pattern in ("ou?", "o*", "[o]ut", "*.d"):
        assert not matcher([pattern])("out/a"), pattern
    assert not matcher(["out"])("outer/a")
