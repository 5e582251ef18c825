"""An adapter that keeps the deadline of a whole call: connecting, sending, reading, and pauses before retries.

The deadline itself is that of :mod:`tokenkit._net.deadline`, which limits connecting and each read from a socket.
"""

from __future__ import annotations

import http.client
import io
import math
import os
from contextvars import ContextVar
from typing import Any, final

from requests import PreparedRequest, Response
from urllib3.exceptions import MaxRetryError, ReadTimeoutError, ResponseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from tokenkit._net.connections import TimedAdapter, TimedConnection, timed, timed_pools, timeout_of
from tokenkit._net.deadline import read_limit, shorter, time_left
from tokenkit._net.retries import checked_retries

__all__ = ["DeadlineAdapter"]

_gives_back: ContextVar[bool] = ContextVar("tokenkit_gives_back", default=False)  # an answer rather than an error
_LEAST = 0.001  # seconds; urllib3 takes no 0, and this is as good as none


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = timed(self.fp, sock)
        self.fp = io.BufferedReader(raw) if raw is not None else self.fp


class _Connection(TimedConnection):
    response_class = _Answer

    def send(self, data: Any) -> None:
        # A socket's time-out is for each piece of a body; urllib3 sets it anew before it reads the answer.
        left, sock = time_left(), self.sock
        if left != math.inf and sock is not None:
            if left <= 0:
                raise TimeoutError("sending the request took too long")
            sock.settimeout(shorter(timeout_of(sock), left))
        super().send(data)


_POOLS = timed_pools(_Connection)


@final
class DeadlineAdapter(TimedAdapter):
    """Sends like requests' own adapter, and where the calling context has a deadline, ends by it.

    Looking up a name is out of reach: the system's resolver takes no time limit. Made anew in a forked child, whose
    sockets would be its parent's.

    Args:
        retries: How often to try again, by the rules of urllib3's ``Retry``, or a policy. Of a policy of a class of its
            own, pauses are not cut short. None: never.
    """

    pools = _POOLS

    def __init__(self, retries: int | Retry | None = None) -> None:
        super().__init__(max_retries=_policy(retries))
        self._pid = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]  # not in the stubs
        self._pid = os.getpid()

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        if self._pid != os.getpid():
            # Kept, and never used: to close what is the parent's too would hang up on its peers.
            self._inherited = (self.poolmanager, self.proxy_manager)
            self.__setstate__(self.__getstate__())  # type: ignore[attr-defined]  # not in the stubs
        # By name, as sessions do: a test may have put a function of its own in the place of requests'.
        rest: dict[str, Any] = {"stream": stream, "verify": verify, "cert": cert, "proxies": proxies}
        if time_left() == math.inf:
            return super().send(request, timeout=timeout, **rest)
        limits: Any = _Shrinking.of(timeout)  # requests takes urllib3's, whatever its annotations say
        with read_limit(limits.of_a_read):
            return super().send(request, timeout=limits, **rest)


class _Shrinking(Timeout):
    """Limits that are cut to the time left whenever urllib3 copies them, as it does for every try."""

    @classmethod
    def of(cls, timeout: Any) -> _Shrinking:
        if isinstance(timeout, Timeout):
            return cls(total=timeout.total, connect=timeout._connect, read=timeout._read)
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        return cls(connect=connect, read=read)

    @property
    def of_a_read(self) -> float | None:
        """Seconds that a read may take, but for the deadline; None: no limit."""
        limits = [limit for limit in (self.total, self._read) if isinstance(limit, (int, float))]
        return min(limits, default=None)

    def clone(self) -> Timeout:
        left = max(_LEAST, time_left())
        limits = {"total": self.total, "connect": self._connect, "read": self._read}
        return Timeout(**{name: _cut(limit, left) for name, limit in limits.items()})


def _cut(limit: Any, left: float) -> float:
    return min(limit, left) if isinstance(limit, (int, float)) else left


@final
class _CutRetry(Retry):
    """urllib3's policy, but with a deadline no pause is begun that would outlast it.

    The caller gets the answer that asked for such a pause; where there was none to give, a ``Timeout``.
    """

    @property  # urllib3 reads it where increment() has raised
    def raise_on_status(self) -> bool:
        return bool(vars(self)["raise_on_status"]) and not _gives_back.get()

    @raise_on_status.setter
    def raise_on_status(self, value: bool) -> None:
        vars(self)["raise_on_status"] = value

    def increment(self, method: str | None = None, url: str | None = None, *args: Any, **kwargs: Any) -> _CutRetry:
        _gives_back.set(False)
        following = super().increment(method, url, *args, **kwargs)
        response = args[0] if args else kwargs.get("response")
        if response is not None and following._pause(response) >= time_left():
            _gives_back.set(True)
            raise MaxRetryError(kwargs["_pool"], url, ResponseError("the pause would outlast the time allowed"))
        return following

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        if self._pause(response) >= time_left():
            raise ReadTimeoutError(None, None, "the pause before the next try would outlast the time allowed")  # type: ignore[arg-type]  # as urllib3 does where it knows no pool
        super().sleep(response)

    def _pause(self, response: BaseHTTPResponse | None) -> float:
        asked = self.get_retry_after(response) if response and self.respect_retry_after_header else None
        return asked or self.get_backoff_time()


def _policy(retries: int | Retry | None) -> Retry:
    given = checked_retries(retries)
    if isinstance(given, Retry) and type(given) is not Retry:
        return given
    cut = _CutRetry.__new__(_CutRetry)
    vars(cut).update(vars(given if isinstance(given, Retry) else _tries(given or 0)))
    return cut


def _tries(number: int) -> Retry:
    return Retry(number, redirect=False) if number else Retry(0, read=False)
