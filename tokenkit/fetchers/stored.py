"""The token that another program keeps in a storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from tokenkit._checks import check_step
from tokenkit._dataclasses import KW_ONLY, dataclass
from tokenkit._secrecy.references import given
from tokenkit.contracts import FetchContext, TokenFetcher, TokenStorage
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.tokens import Token

__all__ = ["StoredTokenFetcher"]


@final
@dataclass(eq=False, repr=False)
class StoredTokenFetcher(TokenFetcher):
    """Returns the token that another program keeps in a storage, which it only reads, and does not close.

    Safe from any thread, as storages are.

    Args:
        storage: Where the token is.
        key: Under which key.
        name: The step's name.
        depends_on: The names of steps to fetch first.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> storage = InMemoryTokenStorage()
        >>> storage.set("billing", Token("a-token"))
        >>> StoredTokenFetcher(storage, "billing").fetch().access_token
        'a-token'
    """

    storage: TokenStorage
    key: str
    _: KW_ONLY
    name: str = "stored"
    depends_on: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, None)
        if not isinstance(self.key, str) or not self.key:
            raise ConfigurationError("key must be a string, and not empty")
        if not isinstance(self.storage, TokenStorage):
            raise ConfigurationError("storage must be a TokenStorage")

    def __repr__(self) -> str:
        return f"<StoredTokenFetcher {self.name!r} from {type(self.storage).__name__}>"

    @property
    def cache_key(self) -> str:
        return f"{self.name}:stored:{self.key}"

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Read the storage.

        Raises:
            AuthenticationError: There is no token under the key, or an expired one; it may come yet (``transient``).
            StorageError: The storage failed.
        """
        token = self.storage.get(self.key)
        if token is None or token.is_expired(given(context).now()):
            state = "no token" if token is None else "an expired token"
            raise AuthenticationError(f"the storage has {state} under its key", step_name=self.name, transient=True)
        return token
