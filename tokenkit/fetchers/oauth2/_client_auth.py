"""How a client proves who it is: RFC 6749 section 2.3.1, RFC 7521 section 4.2, RFC 7523 section 2.2, RFC 8705."""

from __future__ import annotations

import base64
from typing import Any, final
from urllib.parse import quote_plus

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.references import from_context
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers._arguments import check_secrets, optional_text, text_of, token_text
from tokenkit.fetchers.oauth2._jwt import check_key, signed_jwt

__all__ = ["ClientAuth"]

_METHODS = (
    "client_secret_basic",
    "client_secret_basic_raw",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
)
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@final
@dataclass(frozen=True, repr=False)
class ClientAuth:
    """A client and how it authenticates. Values may be functions of the context; its repr shows none.

    Args:
        method: One of the names of RFC 7591 section 2 and RFC 8705, such as 'client_secret_basic'.
        client_id: The client; None: none is named, which only some grants allow.
        client_secret: Its password.
        assertion: A finished assertion in place of a secret or a key: a string, a path, or a function.
        key: Its private key, PEM, for 'private_key_jwt'.
        key_id: The key's identifier, sent as ``kid``.
        key_password: What the key is encrypted with.
        algorithm: The signature algorithm; None: the usual one for the key.
        headers: Further fields of the assertion's header.
        audience: The assertion's ``aud``, such as the issuer; None: the token endpoint.
        has_cert: Whether there is a client certificate.
        anonymous: Whether the grant allows a client that is not named.
    """

    method: str
    client_id: Any
    client_secret: Any
    assertion: Any
    key: Any
    key_id: Any
    key_password: Any
    algorithm: Any
    headers: Any
    audience: Any
    has_cert: bool
    anonymous: bool

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ConfigurationError(f"client_auth must be one of {', '.join(_METHODS)}")
        if self._is_anonymous:
            return
        if self.client_id is None and self.assertion is None:
            raise ConfigurationError("client_id is missing")
        if self.client_id is not None:
            check_secrets(client_id=self.client_id)
        if self.assertion is not None:
            if self.client_secret is not None or self.key is not None:
                raise ConfigurationError("client_assertion= takes the place of client_secret= and client_key=")
            return
        if self.method.startswith("client_secret"):
            if self.client_secret is None:
                raise ConfigurationError(
                    f"client_auth={self.method!r} needs client_secret=; a public client says client_auth='none'"
                )
            check_secrets(client_secret=self.client_secret)
        if self.method == "private_key_jwt":
            if not self.key:
                raise ConfigurationError("client_auth='private_key_jwt' needs client_key=")
            check_key("client_key", self.key)
        if self.method.endswith("tls_client_auth") and not self.has_cert:
            raise ConfigurationError(f"client_auth={self.method!r} needs cert=")
        if self.method == "none" and self.client_secret:
            raise ConfigurationError("client_auth='none' would not use client_secret=")

    @property
    def _is_anonymous(self) -> bool:
        named = (self.client_id, self.client_secret, self.key, self.assertion)
        return self.anonymous and all(one is None for one in named)

    def apply(self, token_url: str, context: FetchContext) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the header fields and the parameters that authenticate one try; an assertion has a new ``jti``.

        Raises:
            ConfigurationError: The key cannot sign, or the extra ``[crypto]`` is not installed.
        """
        if self._is_anonymous:
            return {}, {}
        client_id = optional_text("client_id", self.client_id, context)
        named = {} if client_id is None else {"client_id": client_id}
        if self.assertion is not None:
            finished = token_text(self.assertion, context, step_name=None, argument="client_assertion")
            return {}, {**named, **_shown(finished)}
        if self.method.endswith("_jwt"):
            # Not everybody reads the client off the assertion, as RFC 7521 section 4.2 has it.
            return {}, {**named, **_shown(self._assertion(client_id or "", token_url, context))}
        if not self.method.startswith("client_secret"):
            return {}, named
        secret = text_of("client_secret", self.client_secret, context)
        if self.method == "client_secret_post":
            return {}, {**named, "client_secret": secret}
        encode = str if self.method == "client_secret_basic_raw" else quote_plus
        pair = f"{encode(client_id or '')}:{encode(secret)}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}

    def _assertion(self, client_id: str, token_url: str, context: FetchContext) -> str:
        by_secret = self.method == "client_secret_jwt"
        algorithm = optional_text("client_algorithm", self.algorithm, context)
        return signed_jwt(
            {"iss": client_id, "sub": client_id, "aud": from_context(self.audience, context) or token_url},
            key=text_of("client_secret", self.client_secret, context) if by_secret else from_context(self.key, context),
            now=context.now(),
            key_id=optional_text("client_key_id", self.key_id, context),
            algorithm=algorithm or ("HS256" if by_secret else None),
            password=from_context(self.key_password, context),
            headers=from_context(self.headers, context),
            argument="client_secret" if by_secret else "client_key",
        )


def _shown(assertion: str) -> dict[str, str]:
    return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
