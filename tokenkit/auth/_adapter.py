"""An adapter that keeps the deadline of a whole call: connecting, sending, reading, and pauses before retries.

The deadline itself is that of :mod:`tokenkit._net.deadline`, which limits connecting and each read from a socket.
"""

from __future__ import annotations

import http.client
import io
import math
import os
from typing import Any, final

from requests import PreparedRequest, Response
from urllib3.exceptions import ReadTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from tokenkit._net.connections import TimedAdapter, TimedConnection, timed, timed_pools, timeout_of
from tokenkit._net.deadline import read_limit, shorter, time_left
from tokenkit._net.retries import checked_retries

__all__ = ["DeadlineAdapter"]

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
        retries: As for requests' adapter: how often to try again where no request arrived, or a policy. Of a policy
            of a class of its own, pauses are not cut short. None: never.
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
        if time_left() == math.inf:
            return super().send(request, stream, timeout, verify, cert, proxies)
        limits: Any = _Shrinking.of(timeout)  # requests takes urllib3's, whatever its annotations say
        with read_limit(limits.of_a_read):
            return super().send(request, stream, limits, verify, cert, proxies)


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


class _CutRetry(Retry):
    """urllib3's policy, but a pause that would outlast the deadline ends the call at once."""

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        asked = self.get_retry_after(response) if response and self.respect_retry_after_header else None
        if (asked or self.get_backoff_time()) >= time_left():
            raise ReadTimeoutError(None, None, "the pause before the next try would outlast the time allowed")  # type: ignore[arg-type]  # as urllib3 does where it knows no pool
        super().sleep(response)


def _policy(retries: int | Retry | None) -> Retry:
    given = checked_retries(retries)
    if isinstance(given, Retry) and type(given) is not Retry:
        return given
    cut = _CutRetry.__new__(_CutRetry)
    vars(cut).update(vars(given if isinstance(given, Retry) else _tries(given or 0)))
    return cut


def _tries(number: int) -> Retry:
    return Retry(number, redirect=False) if number else Retry(0, read=False)
