"""A cache of Django's on which a second is over before it can be read back, as on a busy database."""

from typing import Any

from django.core.cache.backends.locmem import LocMemCache


class SlowCache(LocMemCache):  # type: ignore[misc]  # Django has no types
    """Keeps nothing that is to be kept for a second."""

    def set(self, key: Any, value: Any, timeout: Any = None, version: Any = None) -> None:
        if timeout is None or timeout > 1:
            super().set(key, value, timeout, version)
