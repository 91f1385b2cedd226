"""What a step declares beside its name: its outputs, its parameters, its version."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._place import checked_path, shown

if TYPE_CHECKING:
    from typing import TypeAlias

    Path: TypeAlias = str | os.PathLike[str]
    Outputs: TypeAlias = Path | Iterable[Path]

#: The fields of a marker that hold them, in their order.
CLAIMS = ("outputs", "params", "version")


def asked(
    outputs: Outputs | None, params: Mapping[str, object] | None, version: str | None
) -> dict[str, Any]:
    """Return what was declared, as it is put down, or refuse what cannot be.

    Raises:
        TypeError: An argument is not what it should be.
        ValueError: A parameter is a number that JSON does not have, or a path is empty or none.
    """
    made: dict[str, Any] = {}
    if outputs is not None:
        several = [outputs] if isinstance(outputs, str | os.PathLike) else outputs
        if not isinstance(several, Iterable):
            raise TypeError(f"outputs={shown(outputs)} are no paths; give a list of them")
        made["outputs"] = [checked_path("outputs", path) for path in several]
    if params is not None:
        made["params"] = _plain(params)
    if version is not None:
        if not isinstance(version, str):
            raise TypeError(f"version={shown(version)} is not a string")
        made["version"] = version
    return made


def _plain(params: object) -> object:
    """Return parameters as they come back from JSON, in one order."""
    import json  # noqa: PLC0415 - keeps `import outlive` light

    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise TypeError(f"params={shown(params)} is no mapping of names to values")
    for name, value in params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"params[{name!r}]={shown(value)} is nothing that JSON can hold") from error
    return json.loads(json.dumps(dict(params), sort_keys=True))


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in what the declaration is another than it was; "" if in nothing that is declared now."""
    if "outputs" in now:
        known = sorted(then.get("outputs", {}))
        if known != now["outputs"]:
            return f"its outputs were {known} and are {now['outputs']}"
    if "params" in now:
        known_params = then.get("params")
        if not isinstance(known_params, dict):
            return "no parameters were put down when it was marked"
        for name in sorted({*known_params, *now["params"]}):
            both = [[some[name]] if name in some else [] for some in (known_params, now["params"])]
            if both[0] != both[1]:
                before, after = (shown(one[0]) if one else "not given" for one in both)
                return f"its parameter {name} was {before} and is {after}"
    if "version" in now and then.get("version") != now["version"]:
        return f"its version was {shown(then.get('version'))} and is {shown(now['version'])}"
    return ""
