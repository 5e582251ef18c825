"""Where an authorization server's endpoints are: RFC 8414 and OpenID Connect Discovery."""

from __future__ import annotations

from typing import Any, final
from urllib.parse import urlsplit, urlunsplit

from tokenkit._net.urls import checked_url
from tokenkit._secrecy.scrubber import Scrubber
from tokenkit.clock import SystemClock
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError
from tokenkit.fetchers._answers import json_object
from tokenkit.fetchers._request import TokenRequest
from tokenkit.fetchers._transport import Transport

__all__ = ["Discovery"]

_clock = SystemClock()


@final
class Discovery:
    """Reads a server's metadata once, and keeps it. Safe from any thread: of two first readers, both may ask.

    Args:
        issuer: The server's identifier, a URL without a query.
        transport: What to ask through.
        allow_insecure: Whether ``http://`` may go beyond this machine.
        mutual_tls: Whether the endpoints for client certificates are meant, where there are any (RFC 8705 section 5).

    Raises:
        ConfigurationError: The issuer is no such URL.
    """

    def __init__(self, issuer: str, transport: Transport, *, allow_insecure: bool, mutual_tls: bool) -> None:
        self._issuer = checked_url(issuer, argument="issuer", allow_insecure=allow_insecure)
        if "?" in issuer:
            raise ConfigurationError("issuer must not have a query (RFC 8414 section 2)")
        self._transport = transport
        self._allow_insecure = allow_insecure
        self._mutual_tls = mutual_tls
        self._metadata: dict[str, Any] | None = None  # replaced whole

    def endpoint(self, name: str, *, step_name: str | None, timeout: float | None) -> str:
        """Return the URL of the endpoint *name*, such as 'token_endpoint'.

        Raises:
            AuthenticationError: The metadata cannot be had, are another issuer's, or have no such usable URL.
        """
        metadata = self._known(step_name, timeout)
        aliases = metadata.get("mtls_endpoint_aliases") if self._mutual_tls else None
        url = (aliases.get(name) if isinstance(aliases, dict) else None) or metadata.get(name)
        try:
            return checked_url(url, argument=name, allow_insecure=self._allow_insecure)  # type: ignore[arg-type]  # checked there
        except ConfigurationError as error:
            problem = error.message
        raise MalformedResponseError(f"the metadata of {self._issuer}: {problem}", step_name=step_name)

    def value(self, name: str, *, step_name: str | None, timeout: float | None) -> Any:
        """Return what the metadata say of *name*, unchecked; None where they say nothing.

        Raises:
            AuthenticationError: The metadata cannot be had, or are another issuer's.
        """
        return self._known(step_name, timeout).get(name)

    def _known(self, step_name: str | None, timeout: float | None) -> dict[str, Any]:
        metadata = self._metadata
        if metadata is None:
            metadata = self._metadata = self._read(step_name, timeout)
        return metadata

    def forget(self) -> None:
        """Read the metadata again at the next use."""
        self._metadata = None

    def _read(self, step_name: str | None, timeout: float | None) -> dict[str, Any]:
        end = None if timeout is None else _clock.monotonic() + timeout
        problems, transient = [], False
        for url in _well_known(self._issuer):
            try:
                metadata = self._ask(url, step_name, None if end is None else end - _clock.monotonic())
            except (TokenEndpointError, MalformedResponseError) as error:
                # No such page, or a broken one: the others may do. Where nobody answers, none will.
                transient = transient or error.transient
                problems.append(f"{url}: {error.message}")
                continue
            if metadata.get("issuer") == self._issuer:
                return metadata
            # RFC 8414 section 3.3: not one character may differ, or a server could pass itself off as another.
            problems.append(f"{url} is of {_named(metadata)}")
        raise MalformedResponseError(
            f"no metadata of the issuer {self._issuer} are to be had: {'; '.join(problems)}; give issuer= to the letter"
            " as the server names itself, or token_url= in its place",
            step_name=step_name,
            transient=transient,
        )

    def _ask(self, url: str, step_name: str | None, timeout: float | None) -> dict[str, Any]:
        response, _scrubber = self._transport.exchange(
            lambda: TokenRequest("GET", url), step_name=step_name, timeout=timeout
        )
        return json_object(response, step_name)


def _named(metadata: dict[str, Any]) -> str:
    name = Scrubber().clean(metadata.get("issuer"))
    return f"the issuer {name}" if name else "no issuer that it names"


def _well_known(issuer: str) -> list[str]:
    """Return where the metadata may be: by RFC 8414 section 3.1, by OpenID Connect Discovery, and as Okta has it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    paths = [f"{oauth}{path}", f"{path}{openid}", f"{path}{oauth}"]
    return list(dict.fromkeys(urlunsplit(parts._replace(path=one)) for one in paths))
