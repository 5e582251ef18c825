"""How a failure of a backend becomes a StorageError: by its kind alone, never with what it holds.

What handles a token's text does so below :func:`guarded`: error reporters show the variables of a traceback, and the
frames in which a failure arose are not in that of the error raised here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, final

from tokenkit.errors import StorageError, own_copy

__all__ = ["UnreadableEntryError", "guarded"]

T = TypeVar("T")


@final
class UnreadableEntryError(StorageError):
    """Something is there that somebody may still need, and it cannot be read here; the message says why."""


def guarded(doing: str, call: Callable[[], T]) -> T:
    """Return what *call* returns; its failure, of whatever class, becomes a StorageError.

    Args:
        doing: What goes on, for the message.
        call: Code that runs a client library or the operating system.

    Raises:
        StorageError: The call failed. Nothing is chained: a client's exception may hold the command, and so a token.
    """
    try:
        return call()
    except StorageError as error:
        failure = own_copy(error)
    except OSError as error:
        failure = StorageError(f"{doing} failed: {error.strerror or type(error).__name__}")
    except Exception as error:  # any class of any client library
        failure = StorageError(f"{doing} failed: {type(error).__name__}")
    raise failure  # outside the handlers, so that it has no __context__ either
