"""Patterns made of names: parts that are others the next time become stars."""

import pytest

from outlive_harness.results.patterns import undated


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("out/report-2026-11.csv", "out/report-*.csv"),
        ("out/2026-11-30/part.csv", "out/*/part.csv"),
        ("run_20261130.log", "run_*.log"),
        ("run_20261130T235959Z.log", "run_*.log"),
        ("2026-11-30_23-59.json", "*.json"),
        ("day=2026-11-30/hour=07/*.csv", "day=*/hour=07/*.csv"),
        ("backup.1796097252", "backup.*"),
        ("backup.1796097252.123456", "backup.*"),
        ("part-00042.csv", "part-00042.csv"),
        ("census2020.csv", "census2020.csv"),
        ("v2026-13.csv", "v2026-13.csv"),
        ("id-120261130.csv", "id-120261130.csv"),
    ],
)
def test_a_date_in_a_name_becomes_a_star(pattern, expected):
    """A month, a day, a time, seconds since 1970; a year alone and other numbers stay."""
    assert undated([pattern], []) == [expected]


def test_a_date_stays_where_a_star_would_match_another_file():
    """A pattern is never widened onto what it must not match, and equal ones are one."""
    assert undated(["2026-11.csv"], ["all.csv"]) == ["2026-11.csv"]
    assert undated(["2026-11.csv", "2026-12.csv"], ["all.txt"]) == ["*.csv"]
