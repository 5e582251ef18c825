"""Every error that tokenkit raises on its own account::

    TokenKitError(requests.exceptions.RequestException)
    ├── ConfigurationError (also ValueError)
    ├── AuthenticationError
    │   ├── SignInRequiredError
    │   ├── SourceUnavailableError
    │   ├── TransportError
    │   ├── TokenEndpointError
    │   └── MalformedResponseError
    ├── RenewalError
    │   ├── RenewalTimeoutError (also requests.exceptions.Timeout)
    │   └── RenewalStoppedError
    └── StorageError
        └── StorageLockTimeoutError

They are ``RequestException`` so that ``except RequestException`` around ``session.get()`` holds. No message and no
attribute carries a token, a secret or a response body. Each error pickles and copies with its facts, and without
the ``request`` and ``response`` that requests may attach, which could carry a credential.
"""

from __future__ import annotations

from typing import Any, TypeVar

from requests.exceptions import RequestException, Timeout

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "MalformedResponseError",
    "RenewalError",
    "RenewalStoppedError",
    "RenewalTimeoutError",
    "SignInRequiredError",
    "SourceUnavailableError",
    "StorageError",
    "StorageLockTimeoutError",
    "TokenEndpointError",
    "TokenKitError",
    "TransportError",
    "own_copy",
]

_E = TypeVar("_E", bound="TokenKitError")


class TokenKitError(RequestException):
    """The root of the tree.

    Attributes:
        message: What happened.
        transient: True where the same call may succeed later; retry logic reads this and no message.
    """

    # Facts have defaults here too: the constructor of a user's subclass may not call ours.
    message: str = ""
    transient: bool = False

    def __init__(self, message: str = "") -> None:
        # The message alone: an OSError prints two arguments as '[Errno a] b' and cuts three to two.
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._rebuild, (self.message, self._facts())

    def _facts(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("request", "response")}

    @classmethod
    def _rebuild(cls: type[_E], message: str, facts: dict[str, Any]) -> _E:
        error = cls.__new__(cls, message)  # not __init__, whose arguments a subclass may have changed
        error.args = (message,)
        vars(error).update(facts, request=None, response=None)
        return error


class ConfigurationError(TokenKitError, ValueError):
    """An argument is wrong. Raised where it is given, before any network."""


class AuthenticationError(TokenKitError):
    """A token could not be had.

    Attributes:
        service_name: The service that the token was for, or None.
        step_name: The fetcher or pipeline step that failed, or None.
        host: The host of the endpoint that was asked, and its port where its URL has one, or None.
        retry_after: Seconds that the endpoint asked to wait, or None. From a manager: until it asks the source again.
    """

    service_name: str | None = None
    step_name: str | None = None
    host: str | None = None
    retry_after: float | None = None

    def __init__(
        self,
        message: str = "",
        *,
        service_name: str | None = None,
        step_name: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.service_name = service_name
        self.step_name = step_name
        self.transient = transient
        self.retry_after = retry_after


class SignInRequiredError(AuthenticationError):
    """Only a person can give a new grant: there is none, it was refused, or it is too narrow for what is asked for."""


class SourceUnavailableError(AuthenticationError):
    """The source is not there: no such variable, file, program or metadata server. Another source may be."""


class TransportError(AuthenticationError):
    """The token endpoint gave no answer: no connection, TLS failure, time-out. Transient unless said otherwise."""

    transient = True

    def __init__(
        self,
        message: str = "",
        *,
        service_name: str | None = None,
        step_name: str | None = None,
        transient: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            service_name=service_name,
            step_name=step_name,
            transient=transient,
            retry_after=retry_after,
        )


class TokenEndpointError(AuthenticationError):
    """The token endpoint refused.

    Attributes:
        status: The HTTP status code, or None.
        error: The error code of RFC 6749 section 5.2, such as ``invalid_grant``, or None.
        error_description: The endpoint's text for developers, cleaned and shortened, or None.
        error_uri: A page about the error, cleaned and shortened, or None.
        grant_type: The grant that was refused, such as ``refresh_token``; None where the source does not say.
    """

    status: int | None = None
    error: str | None = None
    error_description: str | None = None
    error_uri: str | None = None
    grant_type: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        error: str | None = None,
        error_description: str | None = None,
        error_uri: str | None = None,
        service_name: str | None = None,
        step_name: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            service_name=service_name,
            step_name=step_name,
            transient=transient,
            retry_after=retry_after,
        )
        self.status = status
        self.error = error
        self.error_description = error_description
        self.error_uri = error_uri

    @property
    def grant_refused(self) -> bool:
        """Whether what was shown, such as a refresh token, is no longer good: ``invalid_grant``.

        Some servers answer a 400 that says nothing, or ``invalid_request``, where RFC 6749 section 5.2 has that.
        """
        return self.error == "invalid_grant" or (self.status == 400 and self.error in (None, "invalid_request"))


class MalformedResponseError(AuthenticationError):
    """The endpoint, or whatever the source is, answered with something that is not a usable token."""


class RenewalError(TokenKitError):
    """The manager could not renew, for a reason of its own rather than of the source."""


class RenewalTimeoutError(RenewalError, Timeout):
    """The renewal outlived the caller's time limit; it goes on behind the call. Transient."""

    transient = True


class RenewalStoppedError(RenewalError):
    """The manager was stopped before or while the caller waited."""


class StorageError(TokenKitError):
    """A storage failed. ``get_token()`` callers never see it: the manager goes on from memory."""


class StorageLockTimeoutError(StorageError):
    """A storage's lock was not to be had in time. Transient."""

    transient = True


def own_copy(error: _E) -> _E:
    """Return an equal error for one thread alone to raise, chained to the same cause as *error*.

    Raising writes the traceback and the context into the exception object, so one instance raised in two threads
    would mix their stories.
    """
    copy = type(error)._rebuild(error.message, error._facts())  # not copy.copy(), which a subclass may have changed
    copy.__cause__ = error.__cause__
    return copy
