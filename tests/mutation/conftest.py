"""Fixtures of the mutation tests."""

import pytest

from outlive_harness.jobs.session import Session


@pytest.fixture(scope="module")
def session():
    """Two workers that the mutants of one process share."""
    with Session(jobs=2) as shared:
        yield shared
