"""What went wrong with a request that got no answer: told from the exceptions of requests, urllib3 and ssl.

Those exceptions keep the request and may quote a header, so only their type and a few known facts are used.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from tokenkit.errors import AuthenticationError, MalformedResponseError, TransportError

__all__ = ["Failure", "describe"]

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


@final
@dataclass(frozen=True)
class Failure:
    """A try without an answer.

    Args:
        kind: 'connect': nothing reached the server. 'read': something may have. 'tls', 'request', 'late' and 'size':
            another try would not help.
        message: What happened, without a secret.
    """

    kind: Literal["connect", "read", "tls", "request", "late", "size"]
    message: str

    def error(self, step_name: str | None) -> AuthenticationError:
        """Return the error to raise for it."""
        if self.kind == "size":
            return MalformedResponseError(self.message, step_name=step_name)
        return TransportError(self.message, step_name=step_name, transient=self.kind != "request")


def describe(error: BaseException, host: str) -> Failure:
    """Return what *error* means for a request to *host*."""
    chain = list(_unwrapped(error))
    proxy = next((one for one in chain if isinstance(one, (ProxyError, requests.exceptions.ProxyError))), None)
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return Failure("tls", f"TLS failure with {host}: certificate verify failed: {one.verify_message}")
    if proxy is not None:
        return Failure("connect", f"the proxy on the way to {host} failed{_tunnel_status(chain)}")
    if _any(chain, ssl.SSLError, SSLError, requests.exceptions.SSLError):
        return Failure("tls", f"TLS failure with {host}")
    if _any(chain, NameResolutionError):
        return Failure("connect", f"the name of {host} could not be resolved")
    if _any(chain, NewConnectionError):
        return Failure("connect", f"no connection to {host}{_errno(chain)}")
    if _any(chain, ConnectTimeoutError, requests.exceptions.ConnectTimeout):
        return Failure("connect", f"time-out: no connection to {host} in time")
    if _any(chain, ReadTimeoutError, requests.exceptions.ReadTimeout, TimeoutError):
        return Failure("read", f"time-out: {host} gave no complete answer in time")
    return _other(error, host)


def _other(error: BaseException, host: str) -> Failure:
    broken = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, HTTPError, ConnectionError)
    if isinstance(error, ValueError) or not isinstance(error, broken):
        return Failure("request", f"the request to {host} cannot be sent ({type(error).__name__})")
    return Failure("read", f"the connection to {host} broke before the answer was complete")


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and all that it wraps: requests and urllib3 keep causes in ``args``, ``reason`` and the chain."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        wrapped = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        todo += [inner for inner in wrapped if isinstance(inner, BaseException)]


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)


def _tunnel_status(chain: list[BaseException]) -> str:
    for one in chain:
        found = _TUNNEL.search(str(one)) if isinstance(one, OSError) else None
        if found:
            wants = ": it wants authentication" if found[1] == "407" else ""
            return f" with status {found[1]}{wants}"
    return ""


def _errno(chain: list[BaseException]) -> str:
    for one in chain:
        if isinstance(one, OSError) and one.errno and isinstance(one.strerror, str):
            return f": {one.strerror}"
    return ""
