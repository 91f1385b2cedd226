"""JSON that a person, or another version, may have written."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str) -> Any:  # noqa: ANN401 - whatever it holds
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or its lists and objects are nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None
