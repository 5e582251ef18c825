"""How a failure of a backend becomes a StorageError: by its kind alone, never with what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tokenkit.errors import StorageError

__all__ = ["guarded"]

T = TypeVar("T")


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
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except Exception as error:  # any class of any client library
        reason = type(error).__name__
    raise StorageError(f"{doing} failed: {reason}")  # outside the handlers, so that it has no __context__ either
