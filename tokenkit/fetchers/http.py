"""Fetchers for token endpoints that speak HTTP in their own way: the token in the answer's body or in a header.

How a request is sent, and what may go wrong with it, is :mod:`tokenkit.fetchers._transport`'s. The OAuth 2.0 grants
are :mod:`tokenkit.fetchers.oauth2`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any, ClassVar

import requests
from urllib3.util import Retry

from tokenkit._checks import check_fields, check_step, check_texts
from tokenkit._net.urls import checked_url, host_of
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import from_context, given
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError, TokenKitError, own_copy
from tokenkit.fetchers._answers import asked_at, at_path, json_object
from tokenkit.fetchers._transport import Timeout, TokenRequest, Transport
from tokenkit.tokens import Token

__all__ = ["BodyTokenFetcher", "HeaderTokenFetcher", "HttpTokenFetcher"]

_Fields = Mapping[str, Any]
_FieldsSource = _Fields | Callable[[FetchContext], _Fields] | Callable[[], _Fields] | None


@dataclass(eq=False, repr=False)
class HttpTokenFetcher(SecretKeeper, TokenFetcher):
    """Asks an HTTP endpoint for a token and reads the answer as OAuth 2.0 does (RFC 6749 section 5.1).

    A template: subclasses may override :meth:`_build_request_headers`, :meth:`_build_request_data` and
    :meth:`_parse_response`. Safe from any thread, as long as these hooks are.

    Each fetcher has a ``requests.Session`` of its own, which follows no redirect, stores no cookie and reads no
    ``.netrc``; proxies of the environment are honoured. The answer may have 1 MiB. A request that carries a
    ``refresh_token`` is not repeated once it may have arrived.

    Pickling is refused where *request_headers* or *request_data* are given as values, since they may be secrets;
    give functions at module level instead. Copying always works.

    Args:
        name: The step's name; not empty.
        base_url: Where the service is. ``http://`` is for this machine only, unless *allow_insecure*.
        endpoint: A path below it; '' for none.
        method: The HTTP method. GET and HEAD send the data in the query, which servers, proxies and urllib3's DEBUG
            log can see: not for secrets.
        request_headers: Header fields, or a function that returns them, called with the context if it takes one.
            None: none.
        request_data: Parameters, likewise. A sequence as a value repeats its name.
        content_type: 'form' or 'json'.
        ttl: A lifetime that overrides the answer's; None believes the answer.
        timeout: Seconds (connect, read): for the connection, and for each read. One try takes at most their sum,
            however slowly the answer drips, and what the system takes to look up the host's name. A single number is
            a limit for each of the three. The context's ``timeout`` shortens them all and ends the retries.
        verify: As for requests: whether to check certificates, or a path of trusted ones.
        cert: A client certificate, as for requests; None: none.
        proxies: Proxies by scheme, as for requests. None: those of the environment.
        session: A session of yours to use; it is neither closed nor changed. The limit on one try then covers the
            body only, and retries of its adapters come on top, also for refresh tokens. None: one of its own.
        retries: Further tries after 408, 429, 500, 502 to 504 and connection failures, with back-off, jitter and
            ``Retry-After``. None: two; 0: none; an ``urllib3.util.Retry`` is taken as it is (mind its
            ``allowed_methods``, which leave out POST).
        depends_on: The names of the steps whose tokens are read from the context.
        allow_insecure: Whether ``http://`` may go beyond this machine.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    name: str
    base_url: str
    endpoint: str
    _: KW_ONLY
    method: str = "POST"
    request_headers: _FieldsSource = None
    request_data: _FieldsSource = None
    content_type: str = "form"
    ttl: timedelta | None = None
    timeout: Timeout = (3.05, 30)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = None
    session: requests.Session | None = None
    retries: int | Retry | None = None
    depends_on: Sequence[str] = ()
    allow_insecure: bool = False

    secret_arguments: ClassVar[tuple[str, ...]] = ("request_headers", "request_data")
    _opened: ClassVar[tuple[str, ...]] = ("_transport",)

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if self.content_type not in ("form", "json"):
            raise ConfigurationError("content_type must be 'form' or 'json'")
        if not isinstance(self.method, str) or not self.method.isalpha():
            raise ConfigurationError("method must be an HTTP method, such as 'POST'")
        self.method = self.method.upper()
        if not isinstance(self.endpoint, str):
            raise ConfigurationError("endpoint must be a path, or ''")
        check_fields(request_headers=self.request_headers, request_data=self.request_data)
        checked_url(self.base_url, argument="base_url", allow_insecure=self.allow_insecure)
        checked_url(self._url, argument="base_url with endpoint", allow_insecure=self.allow_insecure)
        if self.endpoint and "?" in self.base_url:
            raise ConfigurationError("base_url must not have a query: the query belongs to the endpoint")
        self._open()

    def _open(self) -> None:
        self._transport = Transport(
            timeout=self.timeout,
            verify=self.verify,
            cert=self.cert,
            proxies=self.proxies,
            session=self.session,
            retries=self.retries,
        )

    @property
    def _url(self) -> str:
        return f"{self.base_url.rstrip('/')}/{self.endpoint.lstrip('/')}" if self.endpoint else self.base_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {host_of(self.base_url)}>"

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Ask the endpoint for a token.

        Raises:
            TransportError: No answer came.
            TokenEndpointError: The endpoint refused.
            MalformedResponseError: The answer is not a token.
        """
        known = given(context)
        try:
            response, _scrubber = self._transport.exchange(
                lambda: self._request(known), step_name=self.name, timeout=known.timeout, now=known.now
            )
        except TokenKitError as error:
            failure = own_copy(error)  # without the frames whose variables hold secrets
        else:
            return self._token(response)
        raise failure

    def close(self) -> None:
        self._transport.close()

    def _request(self, context: FetchContext) -> TokenRequest:
        return TokenRequest(
            method=self.method,
            url=self._url,
            headers=self._build_request_headers(context),
            data=self._build_request_data(context),
            content_type=self.content_type,
        )

    def _token(self, response: requests.Response) -> Token:
        """Return what :meth:`_parse_response` makes of *response*, its errors turned into ours and named."""
        try:
            return self._parse_response(response)
        except AuthenticationError as error:
            failure = own_copy(error)  # without the frames that hold the answer
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            # Not its text, and not as a cause: a JSONDecodeError keeps the body.
            failure = MalformedResponseError(f"the answer could not be read ({type(error).__name__})")
        failure.step_name = self.name
        raise failure

    def _build_request_headers(self, context: FetchContext) -> dict[str, str]:
        """Return the header fields to send; a subclass may call this one and add to what it returns."""
        return dict(from_context(self.request_headers, context) or {})

    def _build_request_data(self, context: FetchContext) -> dict[str, Any]:
        """Return the parameters to send; a subclass may call this one and add to what it returns."""
        return dict(from_context(self.request_data, context) or {})

    def _parse_response(self, response: requests.Response) -> Token:
        """Return the token in *response*, a success whose body is read.

        Whatever ``ValueError``, ``KeyError`` and the like this raises becomes a :class:`MalformedResponseError`.
        """
        return Token.from_response(json_object(response), now=asked_at(response), ttl=self.ttl)


@dataclass(eq=False, repr=False)
class BodyTokenFetcher(HttpTokenFetcher):
    """Reads the token from a JSON answer whose fields may have any names, and may lie deep.

    Args and errors are those of :class:`HttpTokenFetcher`, and:

    Args:
        token_field: Where the token is; 'data.token' is the field 'token' of the object 'data', unless there is a
            field of that very name. A number as a part counts in a list, from 0.
        token_type_field: Where its type is.
        expires_in_field: Where its lifetime in seconds is. Where the answer has none there, ``expires_on`` and
            ``expires_at`` are looked at.
        refresh_token_field: Where the refresh token is.
        default_token_type: The type where the answer names none.
    """

    _: KW_ONLY
    token_field: str = "access_token"
    token_type_field: str = "token_type"
    expires_in_field: str = "expires_in"
    refresh_token_field: str = "refresh_token"
    default_token_type: str = "Bearer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(
            token_field=self.token_field,
            token_type_field=self.token_type_field,
            expires_in_field=self.expires_in_field,
            refresh_token_field=self.refresh_token_field,
            default_token_type=self.default_token_type,
        )

    def _parse_response(self, response: requests.Response) -> Token:
        answer = json_object(response)
        fields = {
            "access_token": self.token_field,
            "token_type": self.token_type_field,
            "expires_in": self.expires_in_field,
            "refresh_token": self.refresh_token_field,
        }
        found = {name: at_path(answer, path) for name, path in fields.items()}
        if found["access_token"] is None:
            raise MalformedResponseError(f"the answer has no field {self.token_field!r}")
        if found["expires_in"] is None:
            found |= {name: answer[name] for name in ("expires_on", "expires_at") if name in answer}
        taken = {path.partition(".")[0] for path in fields.values()} | found.keys()
        rest = {name: value for name, value in answer.items() if name not in taken}
        return Token.from_response(
            {**rest, **found}, now=asked_at(response), ttl=self.ttl, default_token_type=self.default_token_type
        )


@dataclass(eq=False, repr=False)
class HeaderTokenFetcher(HttpTokenFetcher):
    """Reads the token from a header of the answer. Its body is not looked at; *ttl* says how long it lives.

    Args and errors are those of :class:`HttpTokenFetcher`, and:

    Args:
        token_header: The header's name. A leading scheme word equal to *token_type* is taken off its value.
        token_type: The token's type.
    """

    _: KW_ONLY
    token_header: str = "Authorization"
    token_type: str = "Bearer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(token_header=self.token_header, token_type=self.token_type)

    def _parse_response(self, response: requests.Response) -> Token:
        value = response.headers.get(self.token_header, "").strip()
        scheme, _space, rest = value.partition(" ")
        if scheme.lower() == self.token_type.lower():
            value = rest.strip()
        if not value:
            raise MalformedResponseError(f"the answer has no token in the header {self.token_header!r}")
        fields = {"access_token": value, "token_type": self.token_type}
        return Token.from_response(fields, now=asked_at(response), ttl=self.ttl)
