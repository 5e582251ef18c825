"""Which URLs may be sent a token: exact origins, TLS or loopback.

A URL is read by the standard library's parser, by which requests dials, and by urllib3's, by which it prepares;
where the two disagree somebody is trying something, and the URL has no origin at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple, final
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import parse_url

from tokenkit._net.urls import is_loopback, may_name_a_proxy
from tokenkit.errors import ConfigurationError

__all__ = ["Origin", "OriginRules", "origin_of"]

_PORTS = {"http": 80, "https": 443}
_MOST_PREFIXES = 16


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454 section 4), in one spelling."""

    scheme: str
    host: str
    port: int

    @property
    def prefix(self) -> str:
        """What every URL of this origin begins with, as requests writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}/"

    @property
    def is_safe(self) -> bool:
        """Whether nobody on the way can read what is sent there."""
        return self.scheme == "https" or is_loopback(self.host)


def origin_of(url: str) -> Origin | None:
    """Return where *url* leads; None where it is not plainly an http or https URL."""
    try:
        dialled, prepared = urlsplit(url), parse_url(url)
        one = _origin(dialled.scheme, dialled.hostname, dialled.port)
        other = _origin(prepared.scheme, (prepared.host or "").strip("[]"), prepared.port)
    except ValueError:  # urllib3's LocationParseError is one
        return None
    return one if one == other else None


def _origin(scheme: str | None, host: str | None, port: int | None) -> Origin | None:
    if scheme not in _PORTS or not host:
        return None
    if ":" in host:
        host = str(ipaddress.ip_address(host))  # one spelling of the many
    return Origin(scheme, host, port or _PORTS[scheme])


@final
class OriginRules:
    """Says for a URL whether it gets the token. Immutable, so safe from any thread.

    Args:
        origins: ``https://host[:port]``, or ``https://*.host`` for every host below it and not itself. None: any.
        allow_insecure: Whether ``http://`` beyond loopback may carry a token.

    Raises:
        ConfigurationError: An origin is none, holds more than an origin, or is insecure.
    """

    def __init__(self, origins: Iterable[str] | None, *, allow_insecure: bool) -> None:
        if isinstance(origins, str) or not isinstance(origins, Iterable | None):
            raise ConfigurationError(f"origins must be a list of strings, not {type(origins).__name__}")
        self._allow_insecure = allow_insecure
        self._exact: set[Origin] | None = None
        self._below: set[Origin] = set()
        if origins is not None:
            self._exact = set()
            for number, text in enumerate(origins):
                self._add(text, number)

    def _add(self, text: str, number: int) -> None:
        bare = text.replace("://*.", "://", 1) if isinstance(text, str) else ""
        origin = _origin_from(bare)
        if origin is None:  # not quoted: it may hold a password
            raise ConfigurationError(
                f"origins[{number}] is not scheme://host[:port], such as https://api.example.com, "
                "or https://*.example.com for the hosts below"
            )
        self._check_safe(origin)
        if self._exact is not None and bare == text:
            self._exact.add(origin)
        else:
            self._below.add(origin)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What https URLs that get the token begin with, as far as that can be told so simply."""
        if self._exact is None:
            return ("https://",)
        return tuple(origin.prefix for origin in self._exact if origin.scheme == "https")[:_MOST_PREFIXES]

    def allow(self, url: str, *, direct: bool = False) -> bool:
        """Return whether *url* gets the token: where origins are listed, whether it is in one of them.

        Without a list, a URL that is neither http nor https gets it too, as requests sends that through an adapter of
        the user's only; but no ``file:`` URL, and nothing that has no host.

        Args:
            url: Where to.
            direct: No proxy of the environment is used on the way to this machine.

        Raises:
            ConfigurationError: It would get the token over a connection that others can read (RFC 6750 section 5.3).
        """
        origin = origin_of(url)
        if self._exact is not None and (origin is None or not self._is_listed(origin)):
            return False
        if not url.lower().startswith(("http:", "https:")):
            return _is_foreign(url) and not url.lower().startswith("file:")
        self._check_safe(origin)
        if origin is not None and origin.scheme == "http" and not (direct or self._allow_insecure):
            _check_direct(url, origin)
        return True

    def follow(self, came_from: str, url: str) -> bool:
        """Return whether a token that *came_from* got may go on to *url*: the same origin, or another listed one."""
        origin = origin_of(url)
        if origin is None:
            return _is_foreign(url) and urlsplit(url)[:2] == urlsplit(came_from)[:2]
        return origin == origin_of(came_from) or (self._exact is not None and self._is_listed(origin))

    def _is_listed(self, origin: Origin) -> bool:
        if self._exact and origin in self._exact:
            return True
        parents = (origin._replace(host=host) for host in _parents(origin.host)) if self._below else ()
        return any(parent in self._below for parent in parents)

    def _check_safe(self, origin: Origin | None) -> None:
        if not self._allow_insecure and (origin is None or not origin.is_safe):
            where = f"{origin.prefix[:-1]}" if origin else "this URL"
            raise ConfigurationError(
                f"{where} would carry the token where others can read it (RFC 6750 section 5.3); "
                "use https://, or allow_insecure=True"
            )


def _check_direct(url: str, origin: Origin) -> None:
    """Refuse to send a token to this machine in clear text where a proxy of the environment would read it."""
    if may_name_a_proxy() and select_proxy(url, get_environ_proxies(url)):
        raise ConfigurationError(
            f"{origin.prefix[:-1]} is this machine, but a proxy of the environment would get the token in clear text "
            "(RFC 6750 section 5.3); name the host in NO_PROXY, use an AuthorizedSession, which goes there directly, "
            "or give allow_insecure=True"
        )


def _is_foreign(url: str) -> bool:
    """Return whether *url* is of a scheme with hosts that requests itself does not know."""
    scheme, mark, _ = url.lower().partition("://")
    return bool(mark) and scheme not in _PORTS


def _parents(host: str) -> Iterable[str]:
    labels = host.split(".")
    return (".".join(labels[start:]) for start in range(1, len(labels)))


def _origin_from(text: str) -> Origin | None:
    """Return the origin that *text* is, written as requests would write it; None where it is anything more."""
    request = PreparedRequest()
    try:
        request.prepare_url(text, None)
    except (RequestException, UnicodeError):
        return None
    more = urlsplit(request.url or "").path not in ("", "/") or any(mark in text for mark in "@?#*\\")
    return None if more else origin_of(request.url or "")
