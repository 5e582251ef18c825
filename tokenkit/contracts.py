"""What users implement and what the composition relies on: fetchers, providers and storages."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import FunctionType, MappingProxyType, MethodType
from typing import Any, Protocol, final, runtime_checkable

from tokenkit._dataclasses import dataclass, field
from tokenkit.clock import Clock, SystemClock
from tokenkit.tokens import Token

__all__ = [
    "Challenge",
    "FetchContext",
    "SignsIn",
    "TokenFetcher",
    "TokenPipeline",
    "TokenProvider",
    "TokenStorage",
    "takes_context",
]

logger: logging.Logger = logging.getLogger("tokenkit")

_VAR_POSITIONAL = 0x04  # inspect.CO_VARARGS


@final
@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What a resource said when it rejected a token: its ``WWW-Authenticate`` (RFC 6750 section 3, RFC 9470 section 3).

    Its repr shows the scheme and the error alone.

    Args:
        scheme: In lower case, 'bearer' mostly.
        error: Such as 'invalid_token', 'insufficient_claims' or 'insufficient_user_authentication'. None: none was
            named, as with all that follows.
        scope: The scopes that the resource wants, between spaces.
        claims: The claims that the token must have, as they were sent: JSON, or base64 of it from Entra ID.
        acr_values: How the user must have signed in, between spaces, the best first.
        max_age: Seconds since the user signed in, at most.

    Example:
        >>> Challenge(error="insufficient_user_authentication", max_age=300)
        Challenge(scheme='bearer', error='insufficient_user_authentication')
    """

    scheme: str = "bearer"
    error: str | None = None
    scope: str | None = field(default=None, repr=False)
    claims: str | None = field(default=None, repr=False)
    acr_values: str | None = field(default=None, repr=False)
    max_age: int | None = field(default=None, repr=False)

    @property
    def wants_more(self) -> bool:
        """Whether it says what another token must be like: not any other will do."""
        return any(one is not None for one in (self.scope, self.claims, self.acr_values, self.max_age))


@final
class FetchContext(Mapping[str, Token]):
    """The tokens of the steps done so far, by step name, and the time left. Read-only; shared by no two attempts.

    Args:
        tokens: The tokens; copied.
        timeout: Seconds left for this fetch. None: no limit.
        clock: Of who asks; the system's unless a test says otherwise.
        forced: Whether the user asked for this very fetch, by ``force_refresh()``: a source that keeps back what was
            refused before tries it again.
        max_retry_timeout: Seconds after which a refusal is worth another try; 60 unless the manager's policy differs.
        challenge: What the resource said when it rejected the token that this fetch replaces. None: it rejected none,
            or said nothing. Of several callers that were rejected, it is that of the first.
        grant_key: The storage's key of the refresh token that may be spent now: its newest was read there. None: any.
    """

    __slots__ = ("_clock", "_timeout", "_tokens", "challenge", "forced", "grant_key", "max_retry_timeout")

    def __init__(
        self,
        tokens: Mapping[str, Token] = MappingProxyType({}),
        *,
        timeout: float | None = None,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
        forced: bool = False,
        max_retry_timeout: float = 60.0,
        challenge: Challenge | None = None,
        grant_key: str | None = None,
    ) -> None:
        self._tokens = dict(tokens)
        self._timeout = timeout
        self._clock = clock
        self.forced: bool = forced
        self.max_retry_timeout: float = max_retry_timeout
        self.challenge: Challenge | None = challenge
        self.grant_key: str | None = grant_key

    @property
    def timeout(self) -> float | None:
        """Seconds that were left for this fetch when the context was made; None: no limit."""
        return self._timeout

    def now(self) -> datetime:
        """Return the time, aware and in UTC, by the clock that will judge the token: date it by this."""
        return self._clock.now()

    def __getitem__(self, name: str) -> Token:
        if name not in self._tokens:
            raise KeyError(f"no token of step {name!r} here; a step gets the tokens of those named in its depends_on")
        return self._tokens[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"<FetchContext {', '.join(self._tokens) or 'empty'}>"


class TokenFetcher(ABC):
    """Fetches one kind of token: alone under a manager, or as a step of a pipeline.

    Subclasses set :attr:`name` and define :meth:`fetch`. A manager or pipeline calls a fetcher from one thread at a
    time, except when a hung attempt is replaced by a new one.
    """

    name: str
    """The step's name, unique in its pipeline and not empty."""
    depends_on: Sequence[str] = ()
    """The names of the steps whose tokens :meth:`fetch` reads from its context."""
    ttl: timedelta | None = None
    """A lifetime that overrides what the answer says; None believes the answer."""
    spends_refresh_token: bool = False
    """Whether :meth:`fetch` itself spends a refresh token. Two that do so at the same time may lose the grant, so each
    waits longer for the other."""
    rotates: bool = True
    """Whether the server may give a new refresh token for a spent one."""

    @property
    def grant_key(self) -> str | None:
        """The storage's key of this fetcher's refresh token, apart from that of the access token; by default None.

        A fetcher that has one gets every token by a refresh token. All fetchers with the same key share the refresh
        token and its lock, whatever their access tokens are. None: a refresh token is kept beside its access token.
        """
        return None

    @property
    def cache_key(self) -> str:
        """What tells this fetcher's token from all others in a storage; the name, unless a subclass knows better."""
        return self.name

    @property
    def certificate(self) -> str | None:
        """What tells the client certificate of this fetcher from the next one; None, the default: there is none.

        A token may be bound to it (RFC 8705): when there is another one, a manager takes the token held for due.
        """
        return None

    @property
    def credentials(self) -> str | None:
        """What tells the secrets given by reference, as they are now, from other ones; None, the default: none are.

        When they change after a refusal, a manager asks again at once. It shows nothing of them.
        """
        return None

    @abstractmethod
    def fetch(self, context: FetchContext | None = None) -> Token:
        """Ask the source for a new token.

        Args:
            context: The tokens of earlier steps and the time left; None where there are neither.

        Raises:
            AuthenticationError: There is no token to be had.
        """

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        """Renew *current*, the token held last, which may be expired or rejected. By default, fetch a new one.

        Raises:
            AuthenticationError: There is no token to be had.
        """
        return self.fetch(context)

    def on_fetch_error(self, error: Exception, context: FetchContext | None = None) -> None:
        """Hear that :meth:`fetch` or :meth:`refresh` failed, before the error goes on. By default, log its type."""
        logger.debug("fetcher %s failed: %s", self.name, type(error).__name__)

    def close(self) -> None:
        """Let go of connections. Closing twice is harmless; a later fetch may open them again."""


@runtime_checkable
class SignsIn(Protocol):
    """A source at which a person can sign in: what :meth:`~tokenkit.manager.TokenManager.sign_in` asks for."""

    def sign_in(self, show: Callable[[Any], object] | None, timeout: float | timedelta, *, clock: Clock) -> Token:
        """Ask a person, in the calling thread, and return the token that comes of it."""


class TokenProvider(ABC):
    """What a manager asks for tokens. Subclasses set :attr:`service_name` and define :meth:`fetch_token`.

    The *context* parameter may be left out of an implementation: it is then called without.
    """

    service_name: str
    """What the token is for; not empty. It stands in events, logs and errors."""
    spends_refresh_token: bool = False
    """Whether :meth:`fetch_token` itself spends a refresh token, as of a fetcher."""
    rotates: bool = True
    """Whether the server may give a new refresh token for a spent one."""
    keeps_tokens: bool = False
    """Whether it keeps tokens itself, as a pipeline does: its ``revoke``, if any, is then called with None, too."""

    @property
    def grant_key(self) -> str | None:
        """The storage's key of the refresh token, as of a fetcher. None, the default: it is kept beside the token."""
        return None

    @property
    def cache_key(self) -> str:
        """What tells this provider's token from all others in a storage; the service's name by default."""
        return self.service_name

    @property
    def lock_lease(self) -> float | None:
        """Seconds after which a lock that this provider takes comes free, as of a storage; None, the default: never."""
        return None

    @property
    def certificate(self) -> str | None:
        """What tells the client certificate, as of a fetcher, from the next one; None, the default: there is none."""
        return None

    @property
    def credentials(self) -> str | None:
        """What tells the secrets given by reference, as of a fetcher, from other ones; None, the default: none are."""
        return None

    @abstractmethod
    def fetch_token(self, *context: Any, **named: Any) -> Token:  # so that type checkers let it be left out
        """Return a valid token, from a network or wherever it comes from.

        Raises:
            AuthenticationError: There is no token to be had.
        """

    def refresh_token(self, current: Token, *context: Any, **named: Any) -> Token:
        """Return a token to replace *current*. By default, fetch one.

        Raises:
            AuthenticationError: There is no token to be had.
        """
        given = context[0] if context else named.get("context")
        return self.fetch_token(given) if takes_context(self.fetch_token) else self.fetch_token()

    def close(self) -> None:
        """Let go of connections. Closing twice is harmless."""


@runtime_checkable
class TokenPipeline(Protocol):
    """Several steps as one source: what :class:`~tokenkit.pipeline.TokenFetchPipeline` is to a manager."""

    def as_provider(self) -> TokenProvider:
        """Return the provider that a manager asks in its place."""

    def close(self) -> None:
        """Let go of connections."""


class TokenStorage(ABC):
    """Keeps tokens for many threads, processes or hosts. It is dumb: whoever asks judges what comes back.

    Every method is safe from any thread and after a fork. Keys are any strings; they never act as a path or a
    pattern. An entry whose token has a refresh token is kept beyond its expiry; another may be dropped once
    expired. Every method may raise :class:`~tokenkit.errors.StorageError` when the storage fails.
    """

    @property
    def lock_lease(self) -> float | None:
        """Seconds after which :meth:`lock` comes free although its holder lives; None, the default: never.

        An attempt of a manager may take no longer.
        """
        return None

    @property
    def outlives_process(self) -> bool:
        """Whether what is kept is there for the next start of the program; True, unless a storage knows better."""
        return True

    @abstractmethod
    def get(self, key: str) -> Token | None:
        """Return the token under *key*, expired or not; None if there is none, or nothing that can be read."""

    def get_strict(self, key: str) -> Token | None:
        """Return the token under *key* as :meth:`get` does; None is certain to mean that there is none.

        It is for those who would spend a refresh token that was given to the program: a newer one may be in what
        cannot be read. By default it is :meth:`get`, which is right where everything that is there can be read.

        Raises:
            StorageError: The storage fails; or there is something that nobody but this program's user may have
                written and that cannot be read here: it is encrypted with another key, a later version of tokenkit
                wrote it, or the permissions of its file are wrong. Junk is no such thing: it is absent.
        """
        return self.get(key)

    @abstractmethod
    def set(self, key: str, token: Token) -> None:
        """Put *token* under *key*, whatever was there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Forget what is under *key*; nothing there is no error."""

    def exists(self, key: str) -> bool:
        """Return whether :meth:`get` would return a token."""
        return self.get(key) is not None

    @abstractmethod
    def clear(self) -> None:
        """Forget everything that this storage's prefix, directory or service holds."""

    @abstractmethod
    def delete_if_equal(self, key: str, token: Token) -> bool:
        """Forget what is under *key* if it equals *token*, in one atomic step; return whether it did."""

    @abstractmethod
    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        """Put *token* under *key* if what is there equals *expected*, in one atomic step.

        Args:
            key: Any string.
            expected: The token that must be there; None: there must be none.
            token: The new one.

        Returns:
            Whether it was put. The comparison alone decides: a thread whose :meth:`lock` on *key* ran out in the
            meantime overwrites nothing that another put there, and may still write where nobody did.
        """

    @abstractmethod
    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        """Return a context in which this thread alone, of all that share the storage, holds *key*'s lock.

        The death of its holder frees it. It is not re-entrant, and no other method needs it. A long wait is asked for
        in parts of 0.05 to 0.25 s, with a :meth:`get` in between.

        Args:
            key: Any string; it need not have an entry.
            timeout: Seconds to wait for it; 0 tries once.

        Raises:
            StorageLockTimeoutError: Another holds it, and did for *timeout* seconds. Raised on entering.
        """

    def close(self) -> None:
        """Let go of connections. Closing twice is harmless; a later call may open them again."""


def takes_context(function: Callable[..., Any], positional: int = 0) -> bool:
    """Return whether *function* is to be called with a context after *positional* other arguments.

    It is if the parameter in that place is required or is called ``context``, and if there is ``*args``. An optional
    parameter of another name is left to its default. Asked once per function.
    """
    # What most functions are is read off here: inspect takes a tenth of the time that requests takes to load.
    call = function if isinstance(function, (FunctionType, MethodType)) else getattr(function, "__call__", None)  # noqa: B004
    plain = call.__func__ if isinstance(call, MethodType) else function
    if not isinstance(plain, FunctionType) or hasattr(function, "__signature__") or hasattr(function, "__wrapped__"):
        return _takes_context(function, positional)
    place = positional + isinstance(call, MethodType)
    names = plain.__code__.co_varnames[: plain.__code__.co_argcount]
    if place < len(names):
        return place < len(names) - len(plain.__defaults__ or ()) or names[place] == "context"
    return bool(plain.__code__.co_flags & _VAR_POSITIONAL)


def _takes_context(function: Callable[..., Any], positional: int) -> bool:
    import inspect

    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature: call it plainly
        return False
    by_place = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(by_place) > positional:
        place = by_place[positional]
        return place.default is place.empty or place.name == "context"
    return any(one.kind is one.VAR_POSITIONAL for one in parameters)
