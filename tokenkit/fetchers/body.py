"""The token in the body of an HTTP answer, under any name and at any depth, and spending its refresh token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

import requests

from tokenkit._checks import check_fields, check_texts
from tokenkit._dataclasses import KW_ONLY, dataclass, replace
from tokenkit._secrecy.references import given
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError
from tokenkit.fetchers._answers import (
    answered_token,
    at_path,
    beside,
    json_object,
    lifetime_beside,
    plain_token,
    read_answer,
)
from tokenkit.fetchers._request import TokenRequest
from tokenkit.fetchers.http import HttpTokenFetcher
from tokenkit.tokens import Token

__all__ = ["BodyTokenFetcher"]

_Fields = Mapping[str, Any]


@dataclass(eq=False, repr=False)
class BodyTokenFetcher(HttpTokenFetcher):
    """Reads the token from an answer whose fields may have any names, and may lie deep.

    The answer is JSON, a form, or with ``token_field=""`` the bare token. A word like 'Bearer' before the token is
    taken off. Args and errors are those of :class:`HttpTokenFetcher`, and:

    Args:
        token_field: Where the token is; 'data.token' is the field 'token' of the object 'data', unless there is a
            field of that very name. A number as a part counts in a list, from 0. '': the whole body is the token.
        token_type_field: Where its type is; where there is none, the field of that name beside the token.
        expires_in_field: Where its lifetime in seconds is. Where there is none, one of the usual fields beside the
            token is taken, such as ``expires_in``, ``expires_at`` or ``expirationTimestamp``.
        expires_at_field: Where the instant is at which it expires, as epoch seconds or ISO 8601 with an offset. None:
            likewise.
        refresh_token_field: Where the refresh token is. It is kept only where *refresh_data* says how to spend it.
        refresh_endpoint: A path below *base_url* that takes it. None: *endpoint*.
        refresh_data: What to send in place of *request_data* to spend the refresh token: parameters in which
            '{refresh_token}' stands for it, or a function of the current :class:`~tokenkit.tokens.Token` that returns
            them. None: it is not spent, and each renewal logs in anew.
        default_token_type: The type where the answer names none.
        default_lifetime: The lifetime where the answer tells none. None: for ever.

    Example:
        >>> source = BodyTokenFetcher(
        ...     "device", "https://idp.example.com", "/device", token_field="data.token"
        ... )
    """

    _: KW_ONLY
    token_field: str = "access_token"
    token_type_field: str = "token_type"
    expires_in_field: str = "expires_in"
    expires_at_field: str | None = None
    refresh_token_field: str = "refresh_token"
    refresh_endpoint: str | None = None
    refresh_data: _Fields | Callable[[Token], _Fields] | None = None
    default_token_type: str = "Bearer"
    default_lifetime: timedelta | None = None

    secret_arguments: ClassVar[tuple[str, ...]] = (*HttpTokenFetcher.secret_arguments, "refresh_data")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(
            token_type_field=self.token_type_field,
            expires_in_field=self.expires_in_field,
            refresh_token_field=self.refresh_token_field,
            default_token_type=self.default_token_type,
        )
        if not isinstance(self.token_field, str):
            raise ConfigurationError("token_field must be a string; '' for a body that is the token")
        if self.expires_at_field is not None:
            check_texts(expires_at_field=self.expires_at_field)
        check_fields(refresh_data=self.refresh_data)
        if self.refresh_endpoint is not None and self.refresh_data is None:
            raise ConfigurationError("refresh_endpoint needs refresh_data, which says what to send there")

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        """Spend the refresh token of *current*, if there is one and *refresh_data* says how; else fetch.

        Raises:
            TokenEndpointError: The endpoint refused.
            AuthenticationError: As for :meth:`~tokenkit.fetchers.http.HttpTokenFetcher.fetch`.
        """
        known = given(context)
        if self.refresh_data is None or not current.refresh_token:
            return self.fetch(known)
        try:
            token = self._asked(lambda: self._refresh_request(current, known), known)
        except TokenEndpointError as error:
            error.grant_type = "refresh_token"
            raise
        return token if token.refresh_token else replace(token, refresh_token=current.refresh_token)

    def _refresh_request(self, current: Token, context: FetchContext) -> TokenRequest:
        source = self.refresh_data
        data = source(current) if callable(source) else _filled(source, current.refresh_token or "")
        endpoint = self.endpoint if self.refresh_endpoint is None else self.refresh_endpoint
        return TokenRequest(
            method=self.method,
            url=self._url_of(endpoint),
            headers=self._build_request_headers(context),
            data=dict(data or {}),
            content_type=self.content_type,
            spends_refresh_token=True,
        )

    def _parse_response(self, response: requests.Response) -> Token:
        answer = read_answer(response)
        if not self.token_field:
            text = answer if isinstance(answer, str) else response.text
            fields = {"access_token": plain_token(text, self.default_token_type)}
        elif isinstance(answer, list):
            fields = self._fields(answer)
        else:
            fields = self._fields(json_object(response))
        return answered_token(
            response,
            fields,
            ttl=self.ttl,
            default_token_type=self.default_token_type,
            default_lifetime=self.default_lifetime,
        )

    def _fields(self, answer: Any) -> dict[str, Any]:
        place = beside(answer, self.token_field)
        token_type = at_path(answer, self.token_type_field) or place.get(self.token_type_field)
        found = {
            "access_token": plain_token(at_path(answer, self.token_field), token_type or self.default_token_type),
            "token_type": token_type,
        }
        if found["access_token"] is None:
            raise MalformedResponseError(f"the answer has no field {self.token_field!r}")
        found |= self._lifetime(answer, place)
        if self.refresh_data is not None:
            found["refresh_token"] = at_path(answer, self.refresh_token_field) or place.get(self.refresh_token_field)
        paths = (self.token_field, self.token_type_field, self.expires_in_field, self.refresh_token_field)
        taken = {path.partition(".")[0] for path in (*paths, self.expires_at_field or "")} | found.keys()
        rest = answer if isinstance(answer, dict) else {}
        return {**{name: value for name, value in rest.items() if name not in taken}, **found}

    def _lifetime(self, answer: Any, place: Mapping[str, Any]) -> dict[str, Any]:
        seconds = at_path(answer, self.expires_in_field)
        if seconds not in (None, ""):
            return {"expires_in": seconds}
        if self.expires_at_field is not None:
            end = at_path(answer, self.expires_at_field)
            if end in (None, ""):
                raise MalformedResponseError(f"the answer has no field {self.expires_at_field!r}")
            return {"expires_at": end}
        return lifetime_beside(place) or (lifetime_beside(answer) if isinstance(answer, dict) else {})


def _filled(value: Any, refresh_token: str) -> Any:
    """Return *value* with the refresh token wherever a string in it says '{refresh_token}'."""
    if isinstance(value, str):
        return value.replace("{refresh_token}", refresh_token)
    if isinstance(value, Mapping):
        return {name: _filled(inner, refresh_token) for name, inner in value.items()}
    return [_filled(inner, refresh_token) for inner in value] if isinstance(value, (list, tuple)) else value
