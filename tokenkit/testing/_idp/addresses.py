"""Where each endpoint of the identity provider is, and that no proxy is asked for it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from urllib.request import getproxies, proxy_bypass

__all__ = ["Addresses", "name_in_no_proxy"]


class Addresses(ABC):
    """The URLs of all endpoints, made from one."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens, without a slash at the end."""

    @property
    def issuer(self) -> str:
        """The issuer of the metadata: :attr:`url`."""
        return self.url

    @property
    def metadata_url(self) -> str:
        """The metadata of RFC 8414; the OpenID Connect path answers the same."""
        return f"{self.url}/.well-known/oauth-authorization-server"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    @property
    def revoke_url(self) -> str:
        """The revocation endpoint (RFC 7009)."""
        return f"{self.url}/revoke"

    @property
    def introspect_url(self) -> str:
        """The introspection endpoint (RFC 7662)."""
        return f"{self.url}/introspect"

    @property
    def authorization_url(self) -> str:
        """The authorization endpoint, where a browser is sent."""
        return f"{self.url}/authorize"

    @property
    def device_authorization_url(self) -> str:
        """The device authorization endpoint (RFC 8628)."""
        return f"{self.url}/device_authorization"

    @property
    def api_url(self) -> str:
        """The protected resource, with a slash at the end."""
        return f"{self.url}/api/"

    def api(self, path: str) -> str:
        """Return the URL of *path* below the protected resource."""
        return self.api_url + path.lstrip("/")


def name_in_no_proxy(host: str) -> None:
    """Keep what this process sends to *host* from the proxy that the environment names, if it names one."""
    if getproxies().keys() - {"no"} and not proxy_bypass(host):
        named = ",".join(filter(None, [getproxies().get("no"), host]))
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = named
