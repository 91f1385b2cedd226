"""A store of obstore."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

#: How obstore reports a listing that is refused, for which it has no exception of its own.
_REFUSED = re.compile(r"\bstatus(?: code:)? 40[13]\b")

#: The process that made obstore's first request, and with it the threads that all its stores use.
_asked_in: int | None = None


class Obstore:
    """A store of obstore."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - one of six classes
        import obstore  # noqa: PLC0415 - an extra

        self._obstore, self._store, errors = obstore, store, obstore.exceptions
        self._exists = (FileExistsError, errors.AlreadyExistsError)
        self._changed = (FileNotFoundError, errors.PreconditionError, errors.NotFoundError)
        self._unlisted = (PermissionError, NotImplementedError, errors.NotSupportedError)

    @property
    def _api(self) -> Any:  # noqa: ANN401 - a module
        """Return obstore, unless a child was forked since its first request, which would wait for ever."""
        global _asked_in  # noqa: PLW0603 - its threads serve all stores
        if _asked_in not in (None, os.getpid()):
            raise ChildProcessError(
                "this process was forked after another one had made a request of obstore, whose threads do "
                "not exist here; start processes by spawn or forkserver, or make no request before they are "
                "forked"
            )
        _asked_in = os.getpid()
        return self._obstore

    def check(self, key: str) -> None:
        try:
            self.names(f"{key}/")
        except self._unlisted:  # without the right to list it, nothing shows whether it exists
            pass
        except Exception as error:
            if not _REFUSED.search(str(error)):
                raise

    def get(self, key: str) -> bytes:
        return bytes(self._api.get(self._store, key).bytes())

    def stat(self, key: str) -> tuple[int, str]:
        found = self._api.head(self._store, key)
        return found["size"], found["e_tag"] or ""

    def put(self, key: str, data: bytes | Path) -> None:
        self._api.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._api.put(self._store, key, data, mode="create")
        except self._exists:
            return False
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        try:
            self._api.put(self._store, key, data, mode={"e_tag": tag})
        except self._changed:
            return False
        return True

    def settle(self, key: str) -> None:
        """Do nothing: such a store keeps every object that it shows."""

    def delete(self, key: str) -> None:
        self._api.delete(self._store, key)

    def names(self, prefix: str) -> list[str]:
        # obstore lists by whole parts of a path.
        folder = prefix.rpartition("/")[0]
        several = self._api.list(self._store, folder or None)
        return [one["path"] for batch in several for one in batch if one["path"].startswith(prefix)]
