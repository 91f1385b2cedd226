"""Instants at which a lent clock stands: one form for each, and messages for what is none."""

import datetime as dt

import pytest

from outlive_harness import scenario
from outlive_harness.results.instants import DEFAULT, canonical, nanoseconds
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import ScenarioError


def test_true_is_an_instant_that_never_changes():
    """Kept failures and golden runs of other sessions rest on it, so it is a constant, in the one form."""
    assert scenario(freeze=True).freeze == DEFAULT == "2026-01-02T03:04:05.678901234Z" == canonical(DEFAULT)
    assert nanoseconds(DEFAULT) == 1767323045_678901234


@pytest.mark.parametrize("value", [False, None, ""])
def test_without_an_instant_the_clock_runs(value):
    """There is nothing to lend then, and nothing in the environment."""
    spec = run_spec_of(scenario(command=["true"], freeze=value))
    assert (spec.freeze, spec.instant) == ("", None)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-03-29T01:59:59+01:00", "2026-03-29T00:59:59Z"),
        ("2026-03-29 01:59:59.5z", "2026-03-29T01:59:59.5Z"),
        ("2026-03-29T01:59:59,123456789-0330", "2026-03-29T05:29:59.123456789Z"),
        ("1970-01-01T00:00Z", "1970-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_equal_instants_have_one_form(text, form):
    """Golden runs are kept by it: the same instant in other words is the same run."""
    made = scenario(freeze=text)
    assert made.freeze == form == canonical(form)
    assert nanoseconds(text) == nanoseconds(form)


def test_an_instant_may_be_a_datetime():
    """TOML makes one of an instant without quotes; one without a time zone is refused as text would be."""
    moment = dt.datetime(2026, 3, 29, 1, 59, 59, 500_000, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert scenario(freeze=moment).freeze == "2026-03-29T00:59:59.5Z"
    with pytest.raises(ScenarioError, match=r"^freeze=datetime.* must be a date and a time with an offset"):
        scenario(freeze=moment.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("2026-03-29", "must be a date and a time with an offset or Z, as 2026-03-29T01:59:59+01:00"),
        (
            "2026-03-29T01:59:59",
            "must be a date and a time with an offset or Z, as 2026-03-29T01:59:59+01:00",
        ),
        ("now", "must be a date and a time with an offset or Z, as 2026-03-29T01:59:59+01:00"),
        ("2026-02-30T01:59:59Z", "does not exist: "),
        ("2026-01-01T24:01:00Z", "does not exist: "),
        ("1969-12-31T23:59:59Z", "lies before 1970, where the clocks of Unix begin"),
        ("9999-12-31T23:59:59-01:00", "does not exist in UTC: its year would be 10000"),
        (1767323045, "must be a string"),
    ],
)
def test_what_is_no_instant_is_refused_by_its_name(value, why):
    """A time of unknown place (no offset) would be another instant on each machine."""
    with pytest.raises(ScenarioError) as error:
        scenario(freeze=value)
    assert str(error.value).startswith(f"freeze={value!r} {why}")


def test_programs_are_told_the_instant_too(tmp_path, monkeypatch):
    """SOURCE_DATE_EPOCH is set beside the clock, unless the user has set it."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    made = scenario(command=["true"], freeze="2026-03-29T01:59:59.9+01:00")
    assert run_spec_of(made).environment(tmp_path)["SOURCE_DATE_EPOCH"] == "1774745999"
    assert "SOURCE_DATE_EPOCH" not in run_spec_of(scenario(command=["true"])).environment(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert run_spec_of(made).environment(tmp_path)["SOURCE_DATE_EPOCH"] == "7"


def test_another_instant_is_another_golden_run():
    """What is kept for one must not be used for the other."""
    keys = {
        run_spec_of(scenario(command=["true"], name="x", freeze=one)).key()
        for one in ("", True, "1970-01-01T00:00Z")
    }
    assert len(keys) == 3
