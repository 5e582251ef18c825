"""What a source raised, made fit to be told: an error whose chain holds no request, no body and no secret."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from requests.exceptions import HTTPError, RequestException

from tokenkit.errors import AuthenticationError, ConfigurationError, TokenEndpointError, TokenKitError, own_copy

__all__ = ["as_token_error", "without_frames"]

_T = TypeVar("_T")
_PASSING_STATUSES = frozenset({408, 425, 429})
# Where errors of other libraries keep what was sent or received, or more errors:
_KEEPSAKES = ("doc", "exceptions", "fp", "request", "response")


def without_frames(call: Callable[[], _T], *, step_name: str | None = None) -> _T:
    """Return what *call* returns; an error of ours comes without the frames whose variables hold secrets.

    Args:
        call: Called once.
        step_name: What the error is to name, where it names no step.
    """
    try:
        return call()
    except TokenKitError as error:
        failure = own_copy(error)
    if isinstance(failure, AuthenticationError):
        failure.step_name = failure.step_name or step_name
    raise failure


def as_token_error(error: BaseException, outer: BaseException | None = None) -> AuthenticationError:
    """Return *error*, or one in its place, as one for every waiter to copy: its chain holds no credential.

    Args:
        error: What the source raised.
        outer: What the thread was handling before it asked the source. Python chains it to whatever is raised, but it
            is that caller's own affair: the chain of *error* ends before it.
    """
    for one in _chain(error):
        if outer is not None and one.__context__ is outer:
            one.__context__ = None
    if not isinstance(error, AuthenticationError):
        told = _told(error)
        told.__cause__ = error if _is_clean(error) else None
        return told
    if not (_is_clean(error.__cause__) and _is_clean(error.__context__)):
        error.__cause__ = error.__context__ = None
    return own_copy(error) if _keeps_more(error) else error


def _told(error: BaseException) -> AuthenticationError:
    said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
    message = f"the token source failed: {said}"
    if isinstance(error, HTTPError) and error.response is not None:  # as of raise_for_status()
        status = error.response.status_code
        passing = status >= 500 or status in _PASSING_STATUSES
        return TokenEndpointError(f"{message} with status {status}", status=status, transient=passing)
    return AuthenticationError(message, transient=not isinstance(error, ConfigurationError))


def _is_clean(error: BaseException | None) -> bool:
    return not any(_keeps_more(one) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and all that led to it, each once: ``raise error from error`` makes a circle."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__]


def _keeps_more(error: BaseException) -> bool:
    """Return whether *error* keeps the form of a request, the body of an answer, the output of a command, or so."""
    if isinstance(error, TokenKitError):  # requests notes the request on what an authentication handler raises
        return any(getattr(error, name, None) is not None for name in ("request", "response"))
    if isinstance(error, (RequestException, UnicodeError)):
        return True
    subprocess = sys.modules.get("subprocess")  # where it is not loaded, nothing can be an error of it
    if subprocess is not None and isinstance(error, subprocess.SubprocessError):
        return True
    import inspect

    # Statically, as a property of httpx raises, and one of another library might do anything.
    return any(inspect.getattr_static(error, name, None) is not None for name in _KEEPSAKES)
