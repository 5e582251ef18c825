"""What a token endpoint answered: refusals, JSON objects, and how long it asks to wait."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, final
from urllib.parse import parse_qsl

import requests

from tokenkit._net.urls import host_of
from tokenkit._secrecy.scrubber import Scrubber
from tokenkit._token_answers import positive_seconds, readable_instant
from tokenkit.clock import SystemClock
from tokenkit.errors import MalformedResponseError, TokenEndpointError
from tokenkit.tokens import Token

__all__ = [
    "Answer",
    "answered_token",
    "at_path",
    "beside",
    "endpoint_error",
    "fields_of",
    "json_object",
    "lifetime_beside",
    "plain_token",
    "read_answer",
    "refuse_error_object",
    "retry_after_seconds",
]

_MAX_RETRY_AFTER = 3600.0  # what is longer is a mistake, or an answer to give up on
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_TRANSIENT_CODES = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
# Google, Kubernetes, AWS, and what JavaScript and Go programs write.
_EXPIRIES = ("expiresAt", "expiresOn", "expireTime", "expirationTimestamp", "expiration", "expiry")
_clock = SystemClock()


@final
class Answer(requests.Response):
    """An answer that knows when its request was sent, by the clock of who asked."""

    def __init__(self, sent_at: datetime) -> None:
        super().__init__()
        self.sent_at = sent_at


def answered_token(
    response: requests.Response,
    fields: Mapping[str, Any],
    *,
    ttl: timedelta | None,
    default_token_type: str = "Bearer",
    default_lifetime: timedelta | None = None,
) -> Token:
    """Return the token of *fields*, which *response* brought.

    Its lifetime counts from when the request was sent: it began when the token was issued, and how long ago that was
    by the time the answer has been read, over a slow line or in a starved thread, only the server knows.

    Raises:
        MalformedResponseError: There is no usable token in it.
    """
    return Token.from_response(
        fields,
        now=response.sent_at if isinstance(response, Answer) else None,
        server_now=_date(response),
        ttl=ttl,
        default_token_type=default_token_type,
        default_lifetime=default_lifetime,
    )


def _date(response: requests.Response) -> datetime | None:
    """Return the server's time when it answered (RFC 9110 section 6.6.1), or None where it does not tell."""
    try:
        date = parsedate_to_datetime(response.headers["Date"])
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def retry_after_seconds(response: requests.Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, from 0 to an hour; None where it says nothing usable."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = _seconds_until(text) if ":" in text else float(text)  # asctime's dates end in a digit too
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:  # asctime's names no zone, and is in UTC: RFC 9110 section 5.6.7
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - _clock.time()


def json_object(response: requests.Response, step_name: str | None = None) -> dict[str, Any]:
    """Return the JSON object in *response*, or the fields of a form.

    Raises:
        MalformedResponseError: There is none. Transient where there is nothing at all, or JSON that is none, as after
            a broken connection.
    """
    answer = read_answer(response, step_name)
    if isinstance(answer, dict):
        return answer
    kind = Scrubber().clean(response.headers.get("Content-Type"), 60) or "no content type"
    # An answer without a length that is cut short looks whole to HTTP.
    cut = "json" in kind and response.content.lstrip()[:1] == b"{"
    raise MalformedResponseError(f"the answer is not a JSON object ({kind})", step_name=step_name, transient=cut)


def read_answer(response: requests.Response, step_name: str | None = None) -> Any:
    """Return the JSON value in *response*, the fields of a form, or None where it is neither.

    Raises:
        MalformedResponseError: There is nothing at all; transient.
    """
    if not response.content.strip():
        raise MalformedResponseError("the answer is empty", step_name=step_name, transient=True)
    if "x-www-form-urlencoded" in response.headers.get("Content-Type", "").lower():
        fields = dict(parse_qsl(response.text))
        if fields:
            return fields
    return _json(response)


def _json(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):  # not to be chained: a JSONDecodeError keeps the body
        pass
    try:
        return json.loads(response.text)  # in the charset that its header names, as requests reads it
    except (ValueError, RecursionError, LookupError):
        return None


def _object(response: requests.Response) -> dict[str, Any]:
    answer = _json(response)
    return answer if isinstance(answer, dict) else {}


def endpoint_error(response: requests.Response, scrubber: Scrubber, step_name: str | None) -> TokenEndpointError:
    """Return the error that *response*, no success, stands for."""
    return _refusal(response, _object(response), scrubber, step_name)


def refuse_error_object(
    response: requests.Response, answer: dict[str, Any], scrubber: Scrubber, step_name: str | None
) -> None:
    """Raise a :class:`TokenEndpointError` if *answer*, though a success by its status, is an error object."""
    if answer.get("error") and "access_token" not in answer:
        raise _refusal(response, answer, scrubber, step_name)


def _refusal(
    response: requests.Response, answer: dict[str, Any], scrubber: Scrubber, step_name: str | None
) -> TokenEndpointError:
    status = response.status_code
    error = scrubber.clean(answer.get("error"), 64)
    description = scrubber.clean(answer.get("error_description"))
    message = f"the endpoint at {host_of(response.url)} refused with status {status}"
    message += "".join(f"{before}{text}" for before, text in ((" ", error), (": ", description)) if text)
    return TokenEndpointError(
        message + _hint(status),
        status=status,
        error=error,
        error_description=description,
        error_uri=scrubber.clean(answer.get("error_uri")),
        step_name=step_name,
        transient=status in _TRANSIENT_STATUSES or status >= 500 or error in _TRANSIENT_CODES,
        retry_after=retry_after_seconds(response),
    )


def _hint(status: int) -> str:
    if 300 <= status < 400:
        return "; a token endpoint that redirects is not followed: is there a captive portal, or a wrong URL?"
    return "; a proxy wants authentication" if status == 407 else ""


def at_path(answer: Any, path: str) -> Any:
    """Return the field of *answer* that *path* names, its parts joined by dots; None where there is none."""
    if isinstance(answer, Mapping) and path in answer:
        return answer[path]
    place: Any = answer
    for part in path.split("."):
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, Mapping):
            place = place.get(part)
        else:
            return None
    return place


def beside(answer: Any, path: str) -> Mapping[str, Any]:
    """Return the object of *answer* that the field at *path* is a field of; an empty one where there is none."""
    parent, dot, _last = path.rpartition(".")
    is_own = not dot or (isinstance(answer, Mapping) and path in answer)
    place = answer if is_own else at_path(answer, parent)
    return place if isinstance(place, Mapping) else {}


def lifetime_beside(place: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lifetime that stands in *place* under one of the names that endpoints have for it, by ours.

    What a name of others' holds counts only if it can be read: it may mean something else.
    """
    ours = {name: place[name] for name in ("expires_in", "expires_on", "expires_at") if place.get(name) is not None}
    if ours:
        return ours
    if positive_seconds(place.get("expiresIn")) is not None:
        return {"expires_in": place["expiresIn"]}
    readable = [place[name] for name in _EXPIRIES if readable_instant(place.get(name)) is not None]
    return {"expires_at": readable[0]} if readable else {}


def fields_of(answer: Mapping[str, Any], token_field: str) -> dict[str, Any]:
    """Return the fields of an OAuth 2.0 *answer* by their names in RFC 6749, where the token is at *token_field*.

    The others stand beside it, or at the top; some servers write them in camel case.
    """
    if token_field == "access_token" and "access_token" in answer:
        return dict(answer)
    place = beside(answer, token_field)
    fields = {**answer, **place, "access_token": at_path(answer, token_field)}
    if fields["access_token"] is None:
        raise MalformedResponseError(f"the answer has no {token_field}; token_field= says where it is")
    for ours, theirs in (("refresh_token", "refreshToken"), ("token_type", "tokenType")):
        fields.setdefault(ours, place.get(theirs))
    lifetime = lifetime_beside(place) or lifetime_beside(answer)
    for name in ("expires_in", "expires_on", "expires_at"):
        fields.pop(name, None)
    # An identity token's own claim tells when it ends; what stands beside it is the access token's lifetime.
    return fields if token_field.rpartition(".")[2] == "id_token" else {**fields, **lifetime}


def plain_token(value: Any, scheme: str) -> Any:
    """Return *value* without white space around it and without the word *scheme* before it, where it is a string."""
    if not isinstance(value, str):
        return value
    word, _space, rest = value.strip().partition(" ")
    return rest.strip() if rest and word.lower() == scheme.lower() else value.strip()
