"""What all OAuth 2.0 grants share: the client's arguments, spending refresh tokens, and reading the answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, overload

import requests

from tokenkit._checks import check_fields, check_step, check_texts, check_words
from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.identity import cache_key, fingerprint_of, own_mark
from tokenkit._secrecy.references import from_context, given
from tokenkit._secrecy.refresh_tokens import RefreshTokenMemory
from tokenkit._secrecy.scrubber import Scrubber
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError
from tokenkit.fetchers._answers import answered_token, fields_of, json_object, plain_token, refuse_error_object
from tokenkit.fetchers._arguments import scope_words, value_set
from tokenkit.fetchers.oauth2._claims import with_claims
from tokenkit.fetchers.oauth2._refresh_tokens import is_gone, kept, refresh_params, seconds_left
from tokenkit.fetchers.oauth2.server import OAuth2Client
from tokenkit.tokens import Token

__all__ = ["OAuth2Fetcher"]

_Texts = str | Sequence[str] | Callable[..., str | Sequence[str]]

_BOUND_TYPES = frozenset({"mac", "pop", "dpop"})
_RESERVED = frozenset({"grant_type", "client_id", "client_secret", "client_assertion", "scope", "refresh_token"})


class _CacheKey:
    """The argument ``cache_key``, which says what functions stand for, and the whole key, which the attribute is."""

    @overload
    def __get__(self, fetcher: None, kind: type[OAuth2Fetcher]) -> None: ...
    @overload
    def __get__(self, fetcher: OAuth2Fetcher, kind: type[OAuth2Fetcher]) -> str: ...
    def __get__(self, fetcher: OAuth2Fetcher | None, kind: type[OAuth2Fetcher]) -> str | None:
        return None if fetcher is None else fetcher._key()

    def __set__(self, fetcher: OAuth2Fetcher, value: str | None) -> None:
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigurationError("cache_key must be a text that is not empty, or None")
        vars(fetcher)["_named"] = value


@dataclass(kw_only=True, eq=False, repr=False)
class OAuth2Fetcher(OAuth2Client, TokenFetcher):
    """The part of every OAuth 2.0 grant that is not the grant. All arguments are keywords.

    Use one of the subclasses, or write your own for another grant: set :attr:`grant`, define :meth:`_grant_params`,
    and, where users differ, :meth:`_subject`.

    Any parameter of the protocol may be a function that returns it, called at each try, with the context if it
    takes one: in a pipeline, ``lambda context: context["app"].access_token``. Transport and its errors are those of
    :class:`~tokenkit.fetchers.http.HttpTokenFetcher`. Safe from any thread.

    When an answer brings a refresh token, :meth:`refresh` spends it at the next renewal; an answer without one keeps
    the old (RFC 6749 section 6). One that an answer has replaced is never sent again, nor is one that was refused as
    gone: with ``invalid_grant``, ``invalid_token``, ``bad_refresh_token``, ``invalid_refresh_token``,
    ``interaction_required``, ``login_required`` or ``consent_required``.

    Pickling is refused where a secret is given as a value; give a function at module level instead. Copying always
    works.

    Args:
        scope: Scopes, as one string or a sequence. None: the server decides.
        audience: For whom the token is to be, or several. None: the server decides.
        resource: Resource indicators (RFC 8707), one or several. None: none is sent.
        extra_params: Further parameters of the token request. They are pickled: if one is a secret, give a function
            that returns them. None: none.
        gone_errors: Further words by which this server says that a refresh token is no good any more.
        claims_challenge: Whether a resource that rejects a token for ``insufficient_claims`` gets what it asks for: the
            token request that follows has its ``claims``, merged with those of *extra_params* (continuous access
            evaluation). The requests after that have not. False, the default: they are left out.
        cache_key: What tells this fetcher's token from others where a parameter is a function, which is not read: the
            same text, for the same token, in every program that shares a storage. None: the token of a fetcher with
            such a parameter is shared by the threads that use this very object, and with no other process.
            Literals and references (:mod:`tokenkit.secrets`) need none.
        name: The step's name.
        depends_on: The names of the steps whose tokens are read from the context.
        ttl: A lifetime that overrides the answer's; None believes the answer.
        token_field: Where in the answer the token is, as a dotted path, such as 'id_token' or 'data.access_token'; the
            other fields are looked for beside it.
        token_type: The type of the token, whatever the answer says. None: what the answer says, where that is
            'bearer'; ``mac``, ``pop`` and ``dpop`` are refused in any case.
        default_lifetime: The lifetime where the answer tells none. None: for ever.

    Raises:
        ConfigurationError: An argument is wrong, or arguments do not go together.

    Example:
        >>> from tokenkit.testing import LocalIdP
        >>> class KioskFetcher(OAuth2Fetcher):
        ...     grant = "client_credentials"
        ...
        ...     def _grant_params(self, url, context):
        ...         return {"kiosk": "7"}
        >>> with LocalIdP() as idp:
        ...     KioskFetcher(
        ...         token_url=idp.token_url, client_id="client", client_secret="secret"
        ...     ).fetch().token_type
        'Bearer'
    """

    scope: _Texts | None = None
    audience: _Texts | None = None
    resource: _Texts | None = None
    extra_params: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None
    gone_errors: Collection[str] = ()
    claims_challenge: bool = False
    cache_key: _CacheKey = _CacheKey()  # a descriptor, the same for all
    name: str = "oauth2"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None
    token_field: str = "access_token"
    token_type: str | None = None
    default_lifetime: timedelta | None = None

    grant: ClassVar[str]
    """The ``grant_type``."""
    _opened: ClassVar[tuple[str, ...]] = (*OAuth2Client._opened, "_memory", "_own")
    _token_types: ClassVar[tuple[str, ...]] = ("bearer",)

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if not hasattr(self, "grant"):
            raise ConfigurationError(f"{type(self).__name__} has no grant; use a subclass that sets it")
        if self.token_url is None and self._server is None:
            raise ConfigurationError("token_url or issuer is missing")
        check_fields(extra_params=self.extra_params)
        check_texts(token_field=self.token_field)
        if self.token_type is not None:
            check_texts(token_type=self.token_type)
            if self.token_type.lower() in _BOUND_TYPES:
                raise ConfigurationError("token_type must not be one whose tokens need a proof with each request")
        check_words(scope=self.scope, audience=self.audience, resource=self.resource)
        if isinstance(self.gone_errors, str) or not all(isinstance(one, str) for one in self.gone_errors):
            raise ConfigurationError("gone_errors must be a sequence of words")
        if not isinstance(self.claims_challenge, bool):
            raise ConfigurationError("claims_challenge must be True or False")
        if isinstance(self.extra_params, Mapping):
            taken = sorted(_RESERVED.intersection(self.extra_params))
            if taken:
                raise ConfigurationError(f"extra_params must not hold {', '.join(taken)}, which have their arguments")
        self._open()

    def _open(self) -> None:
        super()._open()
        self._memory = RefreshTokenMemory()
        self._own = own_mark()

    @property
    def _step_name(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self._client.host}>"

    def _key(self) -> str:
        """Return what two fetchers share only where they would get the same token; no client secret is part of it."""
        parts = {
            "grant": self.grant,
            "server": self.token_url or self._server,
            "client": self.client_id,
            "certificate": fingerprint_of(self.cert),
            "scope": scope_words(self.scope),
            "audience": value_set(self.audience),
            "resource": value_set(self.resource),
            "extra": self.extra_params or {},
            "subject": self._subject(),
            "field": self.token_field,
        }
        client = self.client_id if isinstance(self.client_id, str) else ""
        return cache_key(
            f"{self.grant.rpartition(':')[2]}:{self._client.host}:{client}", parts, vars(self)["_named"] or self._own
        )

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Ask for a token with the full grant.

        Raises:
            TransportError: No answer came.
            TokenEndpointError: The endpoint refused.
            MalformedResponseError: The answer is not a bearer token.
            ConfigurationError: A key cannot sign, or the extra ``[crypto]`` is not installed.
        """
        known = given(context)
        return self._granted(lambda url: self._grant_params(url, known), known)

    def _granted(self, params: Callable[[str], Mapping[str, Any]], context: FetchContext) -> Token:
        """Ask with the full grant, of which *params* makes the parameters of one try."""
        try:
            return self._ask(lambda url: {"grant_type": self.grant, **params(url)}, context)
        except TokenEndpointError as error:
            error.grant_type = self.grant
            raise

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        """Spend the refresh token of *current*, or what took its place; where there is none that is good, fetch.

        Raises:
            TokenEndpointError: The endpoint refused. Where it is final, look whether another process has rotated the
                refresh token, then :meth:`fetch`; a manager does.
            AuthenticationError: As for :meth:`fetch`.
        """
        known = given(context)
        spent = current.refresh_token and self._memory.newest(current.refresh_token)
        if not spent or (spent == current.refresh_token and seconds_left(current, known.now()) == 0):
            return self.fetch(known)
        return self._spend(spent, current, known)

    def _spend(self, spent: str, current: Token | None, context: FetchContext, *, scope: bool = False) -> Token:
        """Ask with the refresh token *spent*, and remember what became of it."""
        try:
            token = self._ask(lambda _url: refresh_params(spent), context, scope=scope)
        except TokenEndpointError as error:
            error.grant_type = "refresh_token"
            if is_gone(error, self.gone_errors):
                self._memory.refused(spent)
            raise
        if token.refresh_token:
            self._memory.replaced(spent, token.refresh_token)
        return kept(token, spent, current, context.now())

    def _grant_params(self, token_url: str, context: FetchContext) -> dict[str, Any]:
        """Return the parameters of this grant for one try, without ``grant_type``. By default there are none."""
        return {}

    def _subject(self) -> Any:
        """Return what tells apart the tokens of two users of one client."""
        return None

    def _ask(self, params: Callable[[str], Mapping[str, Any]], context: FetchContext, *, scope: bool = True) -> Token:
        def build(url: str) -> dict[str, Any]:
            return {**self._common_params(context, scope=scope), **params(url)}

        def ask() -> Token:
            response, scrubber = self._client.post("token_endpoint", build, context=context, step_name=self.name)
            return self._token(response, scrubber)

        return without_frames(ask, step_name=self.name)

    def _common_params(self, context: FetchContext, *, scope: bool) -> dict[str, Any]:
        params = with_claims(
            from_context(self.extra_params, context) or {}, context.challenge if self.claims_challenge else None
        )
        scopes = from_context(self.scope, context)
        if scope and scopes:
            params["scope"] = scopes if isinstance(scopes, str) else " ".join(scopes)
        for name in ("audience", "resource"):
            value = from_context(getattr(self, name), context)
            if value:
                params[name] = value if isinstance(value, str) else list(value)
        return params

    def _token(self, response: requests.Response, scrubber: Scrubber) -> Token:
        answer = json_object(response)
        refuse_error_object(response, answer, scrubber, self.name)
        fields = fields_of(answer, self.token_field)
        told = self.token_type or fields.get("token_type") or "Bearer"
        if not isinstance(told, str) or (self.token_type is None and told.lower() not in self._token_types):
            raise MalformedResponseError("the token is not a bearer token; if it can be sent like one, set token_type=")
        return answered_token(
            response,
            {**fields, "access_token": plain_token(fields.get("access_token"), told), "token_type": told},
            ttl=self.ttl,
            default_lifetime=self.default_lifetime,
        )
