"""A JWT that is signed here and is the token itself: GitHub Apps, Google's APIs, Snowflake, Apple."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, final

from tokenkit._checks import check_fields, check_step, seconds
from tokenkit._dataclasses import KW_ONLY, dataclass
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.identity import cache_key, own_mark
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import from_context, given
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers._arguments import optional_text
from tokenkit.fetchers.oauth2._jwt import check_key, signed_jwt
from tokenkit.tokens import Token

__all__ = ["SignedJwtFetcher"]


@final
@dataclass(eq=False, repr=False)
class SignedJwtFetcher(SecretKeeper, TokenFetcher):
    """Signs a JWT, which is the token. No network is asked; the extra ``[crypto]`` is needed.

    ``iat``, ``exp`` and a new ``jti`` are added at each fetch, by the clock of who asks. Safe from any thread.

    Args:
        key: The private key, PEM or an object of the package cryptography; a shared secret, with an *algorithm* such as
            'HS256'; or a function that returns one of these.
        claims: The claims, or a function that returns them, called with the context if it takes one. They win over
            those that are added.
        algorithm: The algorithm; None: RS256, ES256, ES384, ES512 or EdDSA, whichever fits the key.
        key_id: The ``kid`` of the header. None: none is sent.
        key_password: What the key is encrypted with. None: it is not.
        headers: Further fields of the header. None: none.
        lifetime: Seconds, or a timedelta, until it expires, more than 0; 300 by default.
        backdate: Seconds, or a timedelta, by which ``iat`` lies in the past, for servers whose clock may be behind. 0:
            it is now.
        name: The step's name.
        depends_on: The names of the steps whose tokens the functions read from the context.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> key = "a-shared-secret-of-32-characters"
        >>> app = SignedJwtFetcher(key, {"iss": "app-7"}, algorithm="HS256", lifetime=540)
        >>> app.fetch().access_token.count(".")
        2
    """

    key: str | bytes | Callable[..., str | bytes]
    claims: Mapping[str, Any] | Callable[..., Mapping[str, Any]]
    _: KW_ONLY
    algorithm: str | None = None
    key_id: str | Callable[..., str] | None = None
    key_password: str | Callable[..., str] | None = None
    headers: Mapping[str, Any] | None = None
    lifetime: float | timedelta = 300
    backdate: float | timedelta = 0
    name: str = "signed_jwt"
    depends_on: Sequence[str] = ()

    secret_arguments: ClassVar[tuple[str, ...]] = ("key", "key_password")
    _opened: ClassVar[tuple[str, ...]] = ("_own",)

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, None)
        check_key("key", self.key)
        if self.key in ("", b""):
            raise ConfigurationError("key is missing: it is empty")
        check_fields(claims=self.claims, headers=self.headers)
        self.lifetime = seconds("lifetime", self.lifetime, zero=False, infinite=False)
        self.backdate = seconds("backdate", self.backdate, zero=True, infinite=False)
        self._open()

    def _open(self) -> None:
        self._own = own_mark()

    def __repr__(self) -> str:
        return f"<SignedJwtFetcher {self.name!r}>"

    @property
    def cache_key(self) -> str:
        """A key for what is claimed, and with which key."""
        return cache_key(f"{self.name}:jwt", [self.key, self.key_id, self.claims, self.headers or {}], self._own)

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Sign a token.

        Raises:
            ConfigurationError: The key cannot sign, or the extra ``[crypto]`` is not installed.
        """
        known = given(context)
        return without_frames(lambda: self._signed(known))

    def _signed(self, context: FetchContext) -> Token:
        assert isinstance(self.lifetime, (int, float))
        assert isinstance(self.backdate, (int, float))
        now = context.now()
        text = signed_jwt(
            {"iat": int(now.timestamp() - self.backdate), **(from_context(self.claims, context) or {})},
            key=from_context(self.key, context),
            now=now,
            key_id=optional_text("key_id", self.key_id, context),
            algorithm=self.algorithm,
            password=from_context(self.key_password, context),
            headers=self.headers,
            lifetime=self.lifetime,
        )
        return Token.from_response({"access_token": text}, now=now)
