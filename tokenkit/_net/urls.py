"""Which URLs a token endpoint may have, and how they are named in messages."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from tokenkit.errors import ConfigurationError

__all__ = [
    "checked_url",
    "host_of",
    "is_here",
    "is_local",
    "is_loopback",
    "is_metadata_host",
    "may_name_a_proxy",
    "without_environment",
]


_AWS = ipaddress.ip_address("fd00:ec2::254")


def checked_url(url: str, *, argument: str, allow_insecure: bool = False) -> str:
    """Return *url* if a secret may be sent there.

    Args:
        url: An absolute URL.
        argument: What to call it in an error.
        allow_insecure: Whether ``http://`` may go beyond this machine.

    Raises:
        ConfigurationError: It is no http(s) URL, holds a user or a fragment, or would send secrets in the clear.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{argument} must be an absolute http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{argument} must not hold a user name or password; give them as arguments")
    if parts.fragment:
        raise ConfigurationError(f"{argument} must not have a fragment (RFC 6749 section 3.2)")
    if parts.scheme == "http" and not allow_insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{argument} is http:// to {parts.hostname}, which would send secrets in the clear; "
            "use https://, or allow_insecure=True"
        )
    return url


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine by its very name: 127.0.0.0/8, ::1 or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_metadata_host(host: str) -> bool:
    """Return whether *host* is where the machines of a cloud ask for what is theirs; elsewhere nobody answers there."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() == "metadata.google.internal"
    return address.is_link_local or address == _AWS


def is_here(url: str) -> bool:
    """Return whether a request to *url* stays on this machine, or on the machine of a cloud that it is."""
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or is_metadata_host(host)


def is_local(url: str | None) -> bool:
    """Return whether *url* is ``http://`` to this machine: what nobody reads, unless a proxy is asked to bring it."""
    parts = _split(url or "")
    return parts is not None and parts.scheme == "http" and is_loopback(parts.hostname or "")


def may_name_a_proxy() -> bool:
    """Return whether the environment may name a proxy: on most systems only variables do, by the end of their names.

    To read it as requests does takes a fifth of a request to this machine; to find nothing there must be quick, and
    nothing is decoded for it.
    """
    if sys.platform in ("darwin", "win32"):
        return True
    return b"_proxy" in b"\n".join(os.environb).lower()


def without_environment(proxies: Mapping[str, str]) -> dict[str, str]:
    """Return *proxies* without those that the environment names: requests has mixed the two on an earlier hop."""
    while True:
        try:
            named = getproxies()
            return {scheme: proxy for scheme, proxy in proxies.items() if named.get(scheme) != proxy}
        except (KeyError, RuntimeError):  # another thread has changed the environment meanwhile
            continue


def host_of(url: str) -> str:
    """Return the host, and port if one is given, of *url*: all of it that a message may show."""
    parts = _split(url)
    return parts.netloc.rpartition("@")[2] if parts else "?"


def _split(url: str) -> SplitResult | None:
    if not isinstance(url, str) or any(character <= " " or character == "\x7f" for character in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed on access, and may be out of range
    except ValueError:
        return None
    return parts
