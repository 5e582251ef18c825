"""What a token endpoint answered: refusals, JSON objects, and how long it asks to wait."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, final

import requests

from tokenkit._secrecy.scrubber import Scrubber
from tokenkit.clock import SystemClock
from tokenkit.errors import MalformedResponseError, TokenEndpointError

__all__ = [
    "Answer",
    "asked_at",
    "at_path",
    "endpoint_error",
    "json_object",
    "refuse_error_object",
    "retry_after_seconds",
]

_MAX_RETRY_AFTER = 3600.0  # what is longer is a mistake, or an answer to give up on
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_TRANSIENT_CODES = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_clock = SystemClock()


@final
class Answer(requests.Response):
    """An answer that knows when its request was sent, by the clock of who asked."""

    def __init__(self, sent_at: datetime) -> None:
        super().__init__()
        self.sent_at = sent_at


def asked_at(response: requests.Response) -> datetime | None:
    """Return when the request of *response* was sent, or None where that is unknown.

    A lifetime counts from then: it began when the token was issued, and how long ago that was by the time the answer
    has been read, over a slow line or in a starved thread, only the server knows.
    """
    return response.sent_at if isinstance(response, Answer) else None


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
    """Return the JSON object in *response*.

    Raises:
        MalformedResponseError: There is none. Transient where there is nothing at all, or JSON that is none, as after
            a broken connection.
    """
    if not response.content.strip():
        raise MalformedResponseError("the answer is empty", step_name=step_name, transient=True)
    answer = _object(response)
    if answer is not None:
        return answer
    kind = Scrubber().clean(response.headers.get("Content-Type"), 60) or "no content type"
    # An answer without a length that is cut short looks whole to HTTP.
    cut = "json" in kind and response.content.lstrip()[:1] == b"{"
    raise MalformedResponseError(f"the answer is not a JSON object ({kind})", step_name=step_name, transient=cut)


def _object(response: requests.Response) -> dict[str, Any] | None:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):  # not to be chained: a JSONDecodeError keeps the body
        return None
    return answer if isinstance(answer, dict) else None


def endpoint_error(response: requests.Response, scrubber: Scrubber, step_name: str | None) -> TokenEndpointError:
    """Return the error that *response*, no success, stands for."""
    return _refusal(response, _object(response) or {}, scrubber, step_name)


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
    message = f"the endpoint refused with status {status}"
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


def at_path(answer: Mapping[str, Any], path: str) -> Any:
    """Return the field of *answer* that *path* names, its parts joined by dots; None where there is none."""
    if path in answer:
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
