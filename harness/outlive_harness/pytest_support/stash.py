"""Where the plugin keeps its things in pytest's config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from outlive_harness.jobs.session import Session

    from .collect import Files
    from .driver import Driver

#: this process's driver, once it is needed
DRIVER: pytest.StashKey[Driver] = pytest.StashKey()
#: in xdist's controller: the session without workers that owns the shared directory
ROOT: pytest.StashKey[Session] = pytest.StashKey()
#: what is known of the scenario files that were collected, if any were
FILES: pytest.StashKey[Files] = pytest.StashKey()
