"""Fetchers for token endpoints that speak HTTP in their own way: the template, and the token in a header.

A token in the answer's body is :mod:`tokenkit.fetchers.body`'s.
How a request is sent, and what may go wrong with it, is :mod:`tokenkit.fetchers._transport`'s. The OAuth 2.0 grants
are :mod:`tokenkit.fetchers.oauth2`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import requests

from tokenkit._checks import check_fields, check_step, check_texts
from tokenkit._dataclasses import KW_ONLY, dataclass
from tokenkit._net.urls import checked_url, host_of
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import from_context, given
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError
from tokenkit.fetchers._answers import (
    answered_token,
    at_path,
    json_object,
    plain_token,
)
from tokenkit.fetchers._request import TokenRequest
from tokenkit.fetchers.options import TransportOptions
from tokenkit.tokens import Token

__all__ = ["HeaderTokenFetcher", "HttpTokenFetcher"]

_Fields = Mapping[str, Any]
_FieldsSource = _Fields | Callable[[FetchContext], _Fields] | Callable[[], _Fields] | None


@dataclass(eq=False, repr=False)
class HttpTokenFetcher(TransportOptions, SecretKeeper, TokenFetcher):
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
        depends_on: The names of the steps whose tokens are read from the context.
        timeout: Seconds (connect, read), (3.05, 30) by default; this and *verify*, *cert*, *proxies*, *session*,
            *retries* and *allow_insecure* are told at :class:`~tokenkit.fetchers.options.TransportOptions`.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> from tokenkit.testing import LocalIdP
        >>> with LocalIdP() as idp:
        ...     form = {
        ...         "grant_type": "client_credentials",
        ...         "client_id": "client",
        ...         "client_secret": "secret",
        ...     }
        ...     HttpTokenFetcher(
        ...         "orders", idp.url, "token", request_data=form
        ...     ).fetch().token_type
        'Bearer'
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
    depends_on: Sequence[str] = ()

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
        self._transport = self._new_transport()

    @property
    def _url(self) -> str:
        return self._url_of(self.endpoint)

    def _url_of(self, endpoint: str) -> str:
        return f"{self.base_url.rstrip('/')}/{endpoint.lstrip('/')}" if endpoint else self.base_url

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
        return self._asked(lambda: self._request(known), known)

    def close(self) -> None:
        self._transport.close()

    def _asked(self, build: Callable[[], TokenRequest], context: FetchContext) -> Token:
        """Send what *build* makes, and return the token that the answer brings."""
        response, _scrubber = without_frames(
            lambda: self._transport.exchange(build, step_name=self.name, timeout=context.timeout, now=context.now)
        )
        return without_frames(lambda: self._token(response), step_name=self.name)

    def _request(self, context: FetchContext) -> TokenRequest:
        return TokenRequest(
            method=self.method,
            url=self._url,
            headers=self._build_request_headers(context),
            data=self._build_request_data(context),
            content_type=self.content_type,
        )

    def _token(self, response: requests.Response) -> Token:
        """Return what :meth:`_parse_response` makes of *response*, its errors turned into ours."""
        try:
            return self._parse_response(response)
        except AuthenticationError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            problem = type(error).__name__
        # Not its text, and not as a cause: a JSONDecodeError keeps the body.
        raise MalformedResponseError(f"the answer could not be read ({problem})")

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
        return answered_token(response, json_object(response), ttl=self.ttl)


@dataclass(eq=False, repr=False)
class HeaderTokenFetcher(HttpTokenFetcher):
    """Reads the token from a header of the answer.

    Its body is looked at for a lifetime only where *expires_at_field* says so; else *ttl* says how long the token is
    good. Args and errors are those of :class:`HttpTokenFetcher`, and:

    Args:
        token_header: The header's name. A leading scheme word equal to *token_type* is taken off its value.
        token_type: The token's type.
        expires_in_header: The name of a header with its lifetime in seconds. None: there is none.
        expires_at_header: The name of a header with the instant at which it expires. None: there is none.
        expires_at_field: Where in the body that instant is, if the body is JSON. None: nowhere.

    Example:
        >>> source = HeaderTokenFetcher(
        ...     "app", "https://idp.example.com", "/app", token_header="X-App-Token"
        ... )
    """

    _: KW_ONLY
    token_header: str = "Authorization"
    token_type: str = "Bearer"
    expires_in_header: str | None = None
    expires_at_header: str | None = None
    expires_at_field: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given_names = {"expires_in_header": self.expires_in_header, "expires_at_header": self.expires_at_header}
        given_names["expires_at_field"] = self.expires_at_field
        check_texts(token_header=self.token_header, token_type=self.token_type)
        check_texts(**{name: value for name, value in given_names.items() if value is not None})

    def _parse_response(self, response: requests.Response) -> Token:
        value = plain_token(response.headers.get(self.token_header, ""), self.token_type)
        if not value or value.lower() == self.token_type.lower():
            raise MalformedResponseError(f"the answer has no token in the header {self.token_header!r}")
        fields = {"access_token": value, "token_type": self.token_type}
        if self.expires_in_header:
            fields["expires_in"] = response.headers.get(self.expires_in_header, "")
        if self.expires_at_header:
            fields["expires_at"] = response.headers.get(self.expires_at_header, "")
        if self.expires_at_field:
            fields["expires_at"] = at_path(json_object(response), self.expires_at_field)
        return answered_token(response, fields, ttl=self.ttl)
