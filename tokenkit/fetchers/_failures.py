"""What went wrong with a request that got no answer: told from the exceptions of requests, urllib3 and ssl.

Those exceptions keep the request and may quote a header, so only their type and a few known facts are used.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, final
from urllib.parse import urlsplit

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

from tokenkit._dataclasses import dataclass, replace
from tokenkit._net.urls import is_metadata_host
from tokenkit.errors import AuthenticationError, MalformedResponseError, SourceUnavailableError, TransportError

__all__ = ["Failure", "describe", "wrong_setting"]

_TUNNEL = r"Tunnel connection failed: (\d{3})"
_UNREACHED = (NewConnectionError, NameResolutionError, ConnectTimeoutError, requests.exceptions.ConnectTimeout)


@final
@dataclass(frozen=True)
class Failure:
    """A try without an answer.

    Args:
        kind: 'connect': nothing reached the server. 'read': something may have. 'tls', 'request', 'late' and 'size':
            another try would not help.
        message: What happened, without a secret.
        is_elsewhere: Whether the host is one that only machines of a cloud have.
    """

    kind: Literal["connect", "read", "tls", "request", "late", "size"]
    message: str
    is_elsewhere: bool = False

    def error(self, step_name: str | None) -> AuthenticationError:
        """Return the error to raise for it."""
        if self.kind == "connect" and self.is_elsewhere:
            return SourceUnavailableError(self.message, step_name=step_name, transient=True)
        if self.kind == "size":
            return MalformedResponseError(self.message, step_name=step_name)
        return TransportError(self.message, step_name=step_name, transient=self.kind != "request")


def describe(error: BaseException, host: str, outer: BaseException | None = None) -> Failure:
    """Return what *error* means for a request to *host*.

    Args:
        error: What was raised.
        host: Where to.
        outer: What was being handled before the request was sent: Python chains it to *error*, but it tells of
            something else.
    """
    failure = _described(error, host, outer)
    return replace(failure, is_elsewhere=True) if is_metadata_host(urlsplit(f"//{host}").hostname or "") else failure


def _described(error: BaseException, host: str, outer: BaseException | None) -> Failure:
    chain = list(_unwrapped(error, outer))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            reason = getattr(one, "verify_message", "")  # set by a handshake only
            return Failure("tls", f"TLS failure with {host}: certificate verify failed{reason and ': ' + reason}")
    proxied = _any(chain, ProxyError, requests.exceptions.ProxyError)
    if proxied:
        # Also what breaks behind the proxy: once the connection is closed, urllib3 does not know how far it came.
        status = _tunnel_status(chain)
        if status or _any(chain, *_UNREACHED):
            return Failure("connect", f"the proxy on the way to {host} failed{status}")
        host = f"{host} through the proxy"
    if _any(chain, ssl.SSLError, SSLError, requests.exceptions.SSLError):
        return Failure("read" if proxied else "tls", f"TLS failure with {host}")
    if _any(chain, NameResolutionError):
        return Failure("connect", f"the name of {host} could not be resolved")
    if _any(chain, NewConnectionError):
        return Failure("connect", f"no connection to {host}{_errno(chain)}")
    if _any(chain, *_UNREACHED):
        return Failure("connect", f"time-out: no connection to {host} in time")
    if _any(chain, ReadTimeoutError, requests.exceptions.ReadTimeout, TimeoutError):
        return Failure("read", f"time-out: {host} gave no complete answer in time")
    return _other(error, host)


def wrong_setting(error: BaseException, options: Mapping[str, Any]) -> str | None:
    """Return what to look at where *error* comes of a request that no server could have answered; else None.

    Args:
        error: What was raised.
        options: ``verify``, ``cert`` and ``proxies``, as requests takes them.
    """
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
        return "a SOCKS proxy needs the package PySocks: pip install requests[socks]"
    if type(error) is not OSError and not isinstance(error, requests.exceptions.SSLError):
        return None
    cert = options["cert"]
    named = [("verify", options["verify"]), *(("cert", one) for one in (cert if isinstance(cert, tuple) else [cert]))]
    if options["verify"] is True:
        named += [(name, os.environ.get(name)) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    for name, path in named:
        if isinstance(path, str) and path and not os.access(path, os.R_OK):
            return f"{name} is {path!r}, and there is no such file or directory that can be read"
        if isinstance(path, str) and not _is_pem(Path(path)):
            return f"{name} is {path!r}, which is no PEM file: such a one has a line that begins with '-----BEGIN'"
    return None


def _is_pem(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _has_pem_line(file)
    except OSError:
        return True  # a directory, or gone since: nothing is known of it


def _has_pem_line(file: Iterable[bytes]) -> bool:
    return any(line.startswith(b"-----BEGIN") for line in file)


def _other(error: BaseException, host: str) -> Failure:
    broken = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, HTTPError, ConnectionError)
    if isinstance(error, ValueError) or not isinstance(error, broken):
        return Failure("request", f"the request to {host} cannot be sent ({type(error).__name__})")
    return Failure("read", f"the connection to {host} broke before the answer was complete")


def _unwrapped(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and all that it wraps: requests and urllib3 keep causes in ``args``, ``reason`` and the chain.

    The chain ends before *outer*.
    """
    todo, seen = [error], {id(outer)}
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
        # Of http.client: what requests raises are OSErrors too, but their text may quote a server.
        found = re.match(_TUNNEL, str(one)) if type(one) is OSError else None
        if found:
            wants = ": it wants authentication" if found[1] == "407" else ""
            return f" with status {found[1]}{wants}"
    return ""


def _errno(chain: list[BaseException]) -> str:
    for one in chain:
        if isinstance(one, OSError) and one.errno and isinstance(one.strerror, str):
            return f": {one.strerror}"
    return ""
