"""Reading JSON that anybody may have written, by hand or with another version."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str) -> Any:  # noqa: ANN401 - whatever it holds
    """Return what a text of JSON holds.

    Raises:
        ValueError: it is none, or its lists and objects lie in each other more deeply than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None
