"""One request to a token endpoint: time limits, retries, a bounded answer, and errors that carry no secret.

An exception of requests keeps the request, and with it the form that was sent, so none ever leaves this module: its
facts are copied into an error of ours, which is raised after the ``except`` block, where it has no context.
"""

from __future__ import annotations

import math
import queue
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any, final

import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError
from urllib3.util import Retry

from tokenkit._checks import check_fields, is_seconds
from tokenkit._net.deadline import deadline
from tokenkit._net.retries import checked_retries
from tokenkit._net.urls import host_of, is_here
from tokenkit._per_process import PerProcess
from tokenkit._secrecy.files import at_home
from tokenkit._secrecy.scrubber import Scrubber
from tokenkit.clock import SystemClock
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.fetchers._answers import Answer, endpoint_error, retry_after_seconds
from tokenkit.fetchers._failures import Failure, describe, wrong_setting
from tokenkit.fetchers._request import TokenRequest
from tokenkit.fetchers._session import auth_for, new_session

__all__ = ["Timeout", "Transport"]

Timeout = float | tuple[float, float]

_MAX_BODY = 1 << 20
_LONGEST = 1e6  # seconds; sockets do not take any number
_RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_clock = SystemClock()
_random = random.SystemRandom()  # uWSGI would fork the state of any other into every worker


@final
class _Backoff(Retry):
    """urllib3's retry policy, with a pause before the first retry too, and half of each pause left to chance."""

    def get_backoff_time(self) -> float:
        pause = self.backoff_factor * 2 ** max(0, len(self.history) - 1)
        return float(min(self.backoff_max, pause) * _random.uniform(0.5, 1))


def _policy(retries: int | Retry | None) -> Retry:
    given = checked_retries(retries)
    if isinstance(given, Retry):
        return given
    return _Backoff(
        total=2 if given is None else given,
        backoff_factor=0.4,
        status_forcelist=_RETRIED_STATUSES,
        allowed_methods=None,
    )


def _limits(timeout: Timeout) -> tuple[float, float, float]:
    """Return the seconds for a connection, for one read, and for the whole of one try."""
    pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if len(pair) != 2 or not all(is_seconds(one, zero=False, infinite=False) for one in pair):
        raise ConfigurationError("timeout must be a number of seconds, more than 0, or a pair (connect, read) of them")
    connect, read = (min(one, _LONGEST) for one in pair)
    return connect, read, connect + read if isinstance(timeout, tuple) else connect


@final
class Transport:
    """Sends token requests. Safe from any thread and after a fork.

    Args:
        timeout: Seconds for the connection and for each read; the whole of one try, its answer included, takes at
            most their sum. A single number is a limit for the connection, each read, and the whole of one try.
        verify: As for requests: whether to check certificates, or a path of trusted ones.
        cert: A client certificate, as for requests.
        proxies: Proxies by scheme, or a function that returns them; None: those of the environment.
        session: A session to use; it is neither closed nor changed. None: a session of this transport's own.
        retries: None: two more tries; a number of them; or a policy, taken as it is.
    """

    def __init__(
        self,
        *,
        timeout: Timeout = (3.05, 30),
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | Callable[..., Mapping[str, str]] | None = None,
        session: requests.Session | None = None,
        retries: int | Retry | None = None,
    ) -> None:
        check_fields(proxies=proxies)
        if session is not None and not callable(getattr(session, "request", None)):
            raise ConfigurationError("session must be a requests.Session, or None")
        self._connect, self._read, self._total = _limits(timeout)
        self._retry = _policy(retries)
        if session is not None and verify is True:
            # Our default does not switch on what the user switched off.
            verify = True if session.verify is None else session.verify
        self._options: dict[str, Any] = {
            "verify": at_home(verify),
            "cert": tuple(map(at_home, cert)) if isinstance(cert, tuple) else at_home(cert),
            "proxies": proxies if callable(proxies) else dict(proxies) if proxies else None,
        }
        self._session = session
        self._own: PerProcess[requests.Session] = PerProcess(new_session)

    def exchange(
        self,
        build: Callable[[], TokenRequest],
        *,
        step_name: str | None,
        timeout: float | None = None,
        now: Callable[[], datetime] = _clock.now,
    ) -> tuple[requests.Response, Scrubber]:
        """Send what *build* makes until there is an answer, and return it.

        Args:
            build: Called for each try, so that each can have a new ``jti``.
            step_name: What errors name.
            timeout: Seconds for all tries together; None: each try has its own limit only.
            now: Tells when the answer's request was sent, from which the token's lifetime counts.

        Returns:
            A success, whole and detached from its request, and what takes that request's secrets out of a text.

        Raises:
            TransportError: No answer; the last try's failure.
            TokenEndpointError: The last answer was no success.
            MalformedResponseError: The answer is larger than 1 MiB.
        """
        end = math.inf if timeout is None else _clock.monotonic() + timeout
        retry = self._retry
        while True:
            request = build()
            outcome = self._try(request, end, now)
            again = _next_policy(retry, request, outcome)
            if again is None or not self._pause(again, outcome, end):
                break
            retry = again
        if isinstance(outcome, Failure):
            raise _at(request, outcome.error(step_name))
        scrubber = Scrubber(request.headers, request.data)
        if not 200 <= outcome.status_code < 300:
            raise _at(request, endpoint_error(outcome, scrubber, step_name))
        return outcome, scrubber

    def close(self) -> None:
        """Close this process's own session; a later exchange opens another."""
        session = self._own.pop()
        if session is not None:
            session.close()

    def _try(self, request: TokenRequest, end: float, now: Callable[[], datetime]) -> requests.Response | Failure:
        left = end - _clock.monotonic()
        if left <= 0:
            return Failure("late", f"no time was left to ask {host_of(request.url)}")
        limit = min(end, _clock.monotonic() + self._total)
        session = self._session or self._own.get()
        outer = sys.exc_info()[1]  # of a caller who sends this while handling an error of his own
        sent_at = now()
        try:
            with (
                deadline(limit),
                session.request(
                    **request.parts(),
                    **self._options_for(request.url),
                    timeout=(min(self._connect, left), min(self._read, left)),
                    auth=auth_for(self._session, request.headers),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                return _whole(response, limit, sent_at, in_time=self._session is None)
        except ConfigurationError:
            raise
        except (OSError, HTTPError, ValueError) as error:  # requests' own errors are OSErrors
            refused = error.response if isinstance(error, requests.HTTPError) else None
            wrong = wrong_setting(error, self._options) if refused is None else None
            if refused is None and wrong is None:
                return describe(error, host_of(request.url), outer)
        except BaseException as interrupt:
            if not isinstance(interrupt, Exception):
                # Dropped, not closed: a lock of its pools may be locked for ever (urllib3's ``with lock`` on 3.14).
                self._own.pop()
            raise
        if refused is None:
            raise ConfigurationError(wrong or "")
        # A session of the user's has a hook that calls raise_for_status(): the answer itself says more.
        with deadline(limit), refused:
            try:
                return _whole(refused, limit, sent_at, in_time=False)
            except (OSError, HTTPError, ValueError) as error:
                return describe(error, host_of(request.url), outer)

    def _options_for(self, url: str) -> dict[str, Any]:
        """Return the options for *url*: what stays on this machine goes through no proxy of the environment."""
        proxies = self._options["proxies"]
        if callable(proxies):
            return {**self._options, "proxies": dict(proxies())}
        if self._session is not None or proxies or not is_here(url):
            return self._options
        return {**self._options, "proxies": {"http": None, "https": None, "all": None}}

    def _pause(self, policy: Retry, outcome: requests.Response | Failure, end: float) -> bool:
        """Wait before the next try; False where that would take too long, for the caller to schedule."""
        seconds = policy.get_backoff_time()
        if policy.respect_retry_after_header and isinstance(outcome, requests.Response):
            seconds = max(seconds, retry_after_seconds(outcome) or 0.0)
        if seconds > self._total or _clock.monotonic() + seconds >= end:
            return False
        if seconds > 0:
            _clock.nap(queue.SimpleQueue(), seconds)
        return True


def _next_policy(retry: Retry, request: TokenRequest, outcome: requests.Response | Failure) -> Retry | None:
    """Return the policy for the next try, or None where this outcome is final."""
    answer = error = None
    if isinstance(outcome, Failure):
        if outcome.kind not in ("connect", "read") or not (request.repeatable or outcome.kind == "connect"):
            return None
        error = ConnectTimeoutError("connect") if outcome.kind == "connect" else ProtocolError("read")
    else:
        status = outcome.status_code
        if not request.repeatable or not retry.is_retry(request.method, status, "Retry-After" in outcome.headers):
            return None
        answer = urllib3.HTTPResponse(status=status)
    try:
        return retry.increment(request.method, "/", response=answer, error=error)
    except HTTPError:  # used up, or a policy that takes no such error
        return None


def _at(request: TokenRequest, error: AuthenticationError) -> AuthenticationError:
    error.host = host_of(request.url)
    return error


def _whole(response: requests.Response, limit: float, sent_at: datetime, *, in_time: bool) -> Answer | Failure:
    """Return a copy of *response* with its body read, and without the request that it answers, sent at *sent_at*.

    *in_time* tells that its connection keeps the deadline by itself, so that a read may wait for a full chunk.
    """
    body = bytearray()
    for chunk in _chunks(response, 1 << 16 if in_time else 1):
        body += chunk
        if len(body) > _MAX_BODY:
            if 200 <= response.status_code < 300:
                return Failure("size", "the answer is larger than 1 MiB")
            break  # a refusal is one, however long its page
        if _clock.monotonic() > limit:
            raise TimeoutError("the answer took too long")
    copy = Answer(sent_at)
    copy.status_code, copy.reason, copy.headers = response.status_code, response.reason, response.headers
    copy.encoding, copy.url = response.encoding, response.url.partition("?")[0]
    copy.cookies, copy.elapsed = response.cookies, response.elapsed
    copy.raw = BytesIO(bytes(body))
    return copy


def _chunks(response: requests.Response, size: int) -> Iterator[bytes]:
    """Yield what is there, as it comes; in chunks of *size* where only full ones are to be had."""
    raw = response.raw
    if raw is None:  # a test's, made by hand: its content is all there is
        return iter((response.content or b"",))
    if isinstance(raw, urllib3.HTTPResponse) and hasattr(raw, "read1"):
        return iter(lambda: raw.read1(1 << 16, decode_content=True), b"")
    return response.iter_content(size)  # an early urllib3 2, or an adapter that answers from elsewhere
