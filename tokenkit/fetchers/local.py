"""Fetchers that ask no network: a token at hand, a function, an environment variable, a file.

The other local sources, a program and a storage, have modules of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, final

from tokenkit._checks import check_step, seconds
from tokenkit._dataclasses import KW_ONLY, dataclass, replace
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.files import at_home, read_secret
from tokenkit._secrecy.identity import cache_key, own_mark
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import SecretReference, from_context, given
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError, SourceUnavailableError
from tokenkit.tokens import Token

__all__ = [
    "CallableTokenFetcher",
    "EnvTokenFetcher",
    "FileTokenFetcher",
    "StaticTokenFetcher",
]


_Answer = Token | str | Mapping[str, Any]


@final
@dataclass(eq=False, repr=False)
class StaticTokenFetcher(SecretKeeper, TokenFetcher):
    """Returns the token it was given, for as long as that is valid. Safe from any thread.

    Args:
        token: A :class:`Token`, or an access token as a string.
        name: The step's name.
        depends_on: The names of steps to fetch first.
        ttl: A lifetime, counted from the token's issue, or from each fetch where that is unknown; None: the
            token's own.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> StaticTokenFetcher("a-token", ttl=timedelta(hours=1)).fetch().token_type
        'Bearer'
    """

    token: Token | str
    _: KW_ONLY
    name: str = "static"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None

    secret_arguments: ClassVar[tuple[str, ...]] = ("token",)
    _instead: ClassVar[str] = "use a CallableTokenFetcher with a function at module level"

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if not isinstance(self.token, Token):
            try:
                self.token = Token(self.token)
            except ValueError as error:
                raise ConfigurationError(str(error)) from None

    def __repr__(self) -> str:
        return f"<StaticTokenFetcher {self.name!r}>"

    @property
    def cache_key(self) -> str:
        """A key for this very token."""
        assert isinstance(self.token, Token)
        return cache_key(f"{self.name}:static", [self.token.access_token], "")

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Return the token.

        Raises:
            AuthenticationError: It is expired.
        """
        assert isinstance(self.token, Token)
        now = given(context).now()
        token = self.token.with_ttl(self.ttl, now)
        if token.is_expired(now):
            raise AuthenticationError("the static token is expired", step_name=self.name)
        return token


@final
@dataclass(eq=False, repr=False)
class CallableTokenFetcher(TokenFetcher):
    """Returns what a function returns. It is safe from any thread if the function is.

        CallableTokenFetcher(lambda: Token.of(client.login(), expires_in=3600))

    Args:
        function: Returns a :class:`Token`, an access token as a string (where it is a JWT, its ``exp`` claim says when
            it expires), or a mapping with the fields of a token endpoint's answer. Called with the
            :class:`FetchContext` if it takes one. What it raises goes on.
        name: The step's name.
        depends_on: The names of the steps whose tokens the function reads from its context.
        ttl: A lifetime that overrides the token's; None: the token's own.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> CallableTokenFetcher(lambda: Token("a-token")).fetch().access_token
        'a-token'
    """

    function: Callable[[FetchContext], _Answer] | Callable[[], _Answer]
    _: KW_ONLY
    name: str = "callable"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if not callable(self.function):
            raise ConfigurationError(
                f"function must be a function, not {type(self.function).__name__}{_hint(self.function)}"
            )

    def __repr__(self) -> str:
        return f"<CallableTokenFetcher {self.name!r}>"

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Call the function.

        Raises:
            MalformedResponseError: It returned something else, or what is no token.
        """
        known = given(context)
        return without_frames(lambda: self._read(from_context(self.function, known), known.now()), step_name=self.name)

    def _read(self, answer: object, now: datetime) -> Token:
        if isinstance(answer, Token):
            return answer.with_ttl(self.ttl, now)
        fields = {"access_token": answer} if isinstance(answer, str) else answer
        if isinstance(fields, Mapping):
            return Token.from_response(fields, now=now, ttl=self.ttl)
        raise MalformedResponseError(
            f"the function returned {type(answer).__name__}, and no Token, string or mapping with an access_token"
        )


@final
@dataclass(eq=False, repr=False)
class EnvTokenFetcher(TokenFetcher):
    """Returns the token in an environment variable, read at each fetch. Safe from any thread.

    Where the token is a JWT, its ``exp`` claim says when it expires.

    Args:
        variable: The variable's name.
        name: The step's name.
        depends_on: The names of steps to fetch first.
        ttl: A lifetime, counted from each fetch; None: the token's own, where it is a JWT, else for ever.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> with_token = EnvTokenFetcher(
        ...     "BILLING_TOKEN", ttl=timedelta(minutes=10)
        ... )  # read at each fetch
    """

    variable: str
    _: KW_ONLY
    name: str = "env"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if not isinstance(self.variable, str) or not self.variable or "=" in self.variable:
            raise ConfigurationError("variable must be the name of an environment variable")

    def __repr__(self) -> str:
        return f"<EnvTokenFetcher {self.name!r} from {self.variable}>"

    @property
    def cache_key(self) -> str:
        """A key for what the variable holds: another process's may hold another's token."""
        return cache_key(f"{self.name}:env:{self.variable}", [SecretReference("env", self.variable)], own_mark())

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Read the variable.

        Raises:
            SourceUnavailableError: It is not set, or empty.
            MalformedResponseError: What it holds is no token, or an expired one.
        """
        return without_frames(lambda: self._read(given(context).now()))

    def _read(self, now: datetime) -> Token:
        text = os.environ.get(self.variable, "").strip()
        if not text:
            message = f"the environment variable {self.variable} is not set, or empty"
            raise SourceUnavailableError(message, step_name=self.name)
        return _token(text, now, ttl=self.ttl, step_name=self.name)


@final
@dataclass(eq=False, repr=False)
class FileTokenFetcher(TokenFetcher):
    """Returns the token in a file that another program keeps fresh, such as a Kubernetes projected token.

    The file is read at each fetch, by its name, so that a swapped link is followed. A manager looks again every
    *reread* seconds, behind its callers, and keeps the token it has where the file is missing for a moment. Where the
    token is a JWT, its ``exp`` claim says when it expires. Safe from any thread.

    Args:
        path: The file. It holds the token and nothing else but white space.
        name: The step's name.
        depends_on: The names of steps to fetch first.
        ttl: A lifetime, counted from each fetch; None: the token's own, where it is a JWT, else for ever.
        reread: Seconds, or a timedelta, after which a manager looks again; more than 0. Where nothing is said: 60.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> mounted = FileTokenFetcher(
        ...     "/var/run/secrets/tokens/api", reread=10
        ... )  # looked at every 10 s
    """

    path: str | os.PathLike[str]
    _: KW_ONLY
    name: str = "file"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None
    reread: float | timedelta = 60

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise ConfigurationError("path must be a path")
        self.path = at_home(self.path)
        self.reread = seconds("reread", self.reread, zero=False, infinite=False)

    def __repr__(self) -> str:
        return f"<FileTokenFetcher {self.name!r} from {os.fspath(self.path)}>"

    @property
    def cache_key(self) -> str:
        """A key for what the file holds: another host's may hold another's token."""
        path = str(Path(self.path).absolute())
        return cache_key(f"{self.name}:file:{path}", [SecretReference("file", path)], own_mark())

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Read the file.

        Raises:
            SourceUnavailableError: There is no such file; it may come yet (``transient``).
            AuthenticationError: It is empty or cannot be read, which may pass, too.
            MalformedResponseError: What it holds is no token, or one that expired and may be replaced yet.
        """
        return without_frames(lambda: self._read(given(context).now()))

    def _read(self, now: datetime) -> Token:
        text = read_secret(self.path, step_name=self.name)
        token = _token(text, now, ttl=self.ttl, step_name=self.name, transient=True)
        return replace(token, extra={"refresh_in": self.reread})


def _token(text: str, now: datetime, *, ttl: timedelta | None, step_name: str, transient: bool = False) -> Token:
    try:
        return Token.from_response({"access_token": text}, now=now, ttl=ttl)
    except MalformedResponseError as error:
        error.step_name, error.transient = step_name, transient
        raise


def _hint(value: object) -> str:
    if isinstance(value, (Token, str)):
        return "; a token at hand is a StaticTokenFetcher's"
    return "; a fetcher or provider is given to the manager itself" if hasattr(value, "cache_key") else ""
