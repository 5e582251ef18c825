"""Where tokens are kept between renewals: one module a storage.

Each name is imported at its first use, so that a storage costs its users alone: ``import tokenkit.storage`` loads
neither django, redis, keyring, cryptography nor filelock.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenkit.storage.memory import InMemoryTokenStorage

__all__ = ["InMemoryTokenStorage"]

_HOMES = {
    "InMemoryTokenStorage": "tokenkit.storage.memory",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
