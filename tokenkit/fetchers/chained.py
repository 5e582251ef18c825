"""Several sources for one token: the first that is there, such as a developer's own, a pod's, a machine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from tokenkit._checks import check_step
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import ConfigurationError, SourceUnavailableError
from tokenkit.tokens import Token

__all__ = ["ChainedTokenFetcher"]


@final
class ChainedTokenFetcher(TokenFetcher):
    """Asks several fetchers in turn, and stays with the first whose source is there.

        ChainedTokenFetcher(EnvTokenFetcher("API_TOKEN"), FileTokenFetcher("/var/run/secrets/token"))

    It goes on to the next where one raises :class:`~tokenkit.errors.SourceUnavailableError`: no such variable, file or
    program, or a metadata server that is not there. A refusal ends the search: another source would give another's
    token. Where the one that it stays with goes away, the search begins anew. Safe from any thread, as they are.

    Args:
        fetchers: At least one, in the order in which they are asked. They are closed with this one.
        name: The step's name.
        depends_on: The names of the steps whose tokens they read from the context; theirs are added.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> from tokenkit.fetchers import EnvTokenFetcher, StaticTokenFetcher
        >>> source = ChainedTokenFetcher(
        ...     EnvTokenFetcher("NO_SUCH_VARIABLE"), StaticTokenFetcher("a-token")
        ... )
        >>> source.fetch().access_token
        'a-token'
    """

    def __init__(self, *fetchers: TokenFetcher, name: str = "chained", depends_on: Sequence[str] = ()) -> None:
        if not fetchers:
            raise ConfigurationError("a chain needs at least one fetcher")
        for one in fetchers:
            if not isinstance(one, TokenFetcher):
                raise ConfigurationError(f"a chain is made of TokenFetcher objects, not of {type(one).__name__}")
        self.name = name
        needed = [step for one in fetchers for step in one.depends_on]
        self.depends_on: Sequence[str] = tuple(dict.fromkeys((*check_step(name, depends_on, None), *needed)))
        self.fetchers = fetchers
        self._chosen: TokenFetcher | None = None  # replaced whole; of two first searches, either may win

    @property
    def spends_refresh_token(self) -> bool:  # type: ignore[override]  # a fact of its fetchers, and no constant
        """Whether one of them does."""
        return any(one.spends_refresh_token for one in self.fetchers)

    @property
    def cache_key(self) -> str:
        """The keys of all: which of them gives the token is one answer in each place."""
        return "|".join(f"{len(one.cache_key)}:{one.cache_key}" for one in self.fetchers)

    @property
    def certificate(self) -> str | None:
        """Those of all that have one."""
        return "|".join(filter(None, (one.certificate for one in self.fetchers))) or None

    @property
    def credentials(self) -> str | None:
        """Those of all that have some."""
        return "|".join(filter(None, (one.credentials for one in self.fetchers))) or None

    def __repr__(self) -> str:
        return f"<ChainedTokenFetcher {self.name!r} of {', '.join(one.name for one in self.fetchers)}>"

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_chosen": None}

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Return the token of the first source that is there.

        Raises:
            SourceUnavailableError: None is there; the message tells of each. Transient where one may come yet.
            AuthenticationError: The one that is there gave no token.
        """
        return self._first(lambda one: one.fetch(context))

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        """Renew *current* with the source that it came from, as far as that is known; else with the first.

        Raises:
            SourceUnavailableError: None is there.
            AuthenticationError: The one that is there gave no token.
        """
        return self._first(lambda one: one.refresh(current, context))

    def close(self) -> None:
        for one in self.fetchers:
            one.close()

    def _first(self, ask: Callable[[TokenFetcher], Token]) -> Token:
        chosen = self._chosen
        missing: list[SourceUnavailableError] = []
        for one in self.fetchers if chosen is None else (chosen, *(o for o in self.fetchers if o is not chosen)):
            try:
                token = ask(one)
            except SourceUnavailableError as error:
                missing.append(error)
                continue
            except Exception:
                self._chosen = one  # it is there
                raise
            self._chosen = one
            return token
        self._chosen = None
        told = "; ".join(f"{one.step_name or 'a source'}: {one.message}" for one in missing)
        raise SourceUnavailableError(
            f"no source is there: {told}", step_name=self.name, transient=any(one.transient for one in missing)
        )
