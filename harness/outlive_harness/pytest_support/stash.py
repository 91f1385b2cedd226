"""The keys of what the plugin keeps in pytest's config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from outlive_harness.config.read import Config
    from outlive_harness.jobs.session import Session

    from .collect import Files
    from .driver import Driver

#: this process's driver, once it was needed
DRIVER: pytest.StashKey[Driver] = pytest.StashKey()
#: in xdist's controller: the session without workers that owns the shared directory
ROOT: pytest.StashKey[Session] = pytest.StashKey()
#: what [tool.outlive] says, once it was read
CONFIG: pytest.StashKey[Config] = pytest.StashKey()
#: facts about the collected scenario files, if there are any
FILES: pytest.StashKey[Files] = pytest.StashKey()
