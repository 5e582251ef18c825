"""How a client proves who it is: RFC 6749 section 2.3.1, RFC 7523 section 2.2, RFC 8705 section 2."""

from __future__ import annotations

import base64
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import quote_plus

from tokenkit._secrecy.references import from_context
from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError

__all__ = ["ClientAuth", "signed_jwt"]

_METHODS = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
)
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFETIME = 60.0
_clock = SystemClock()


@final
@dataclass(frozen=True, repr=False)
class ClientAuth:
    """A client and how it authenticates. Values may be functions of the context; its repr shows none.

    Args:
        method: One of the names of RFC 7591 section 2 and RFC 8705, such as 'client_secret_basic'.
        client_id: The client; None: none is named, which only some grants allow.
        client_secret: Its password.
        key: Its private key, PEM, for 'private_key_jwt'.
        key_id: The key's identifier, sent as ``kid``.
        algorithm: The signature algorithm; None: the usual one for the key.
        audience: The assertion's ``aud``; None: the token endpoint.
        has_cert: Whether there is a client certificate.
        anonymous: Whether the grant allows a client that is not named.
    """

    method: str
    client_id: Any
    client_secret: Any
    key: Any
    key_id: str | None
    algorithm: str | None
    audience: str | None
    has_cert: bool
    anonymous: bool

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ConfigurationError(f"client_auth must be one of {', '.join(_METHODS)}")
        if self._is_anonymous:
            return
        if not self.client_id:
            raise ConfigurationError("client_id is missing")
        if self.method.startswith("client_secret") and not self.client_secret:
            raise ConfigurationError(
                f"client_auth={self.method!r} needs client_secret=; a public client says client_auth='none'"
            )
        if self.method == "private_key_jwt" and not self.key:
            raise ConfigurationError("client_auth='private_key_jwt' needs client_key=")
        if self.method.endswith("tls_client_auth") and not self.has_cert:
            raise ConfigurationError(f"client_auth={self.method!r} needs cert=")
        if self.method == "none" and self.client_secret:
            raise ConfigurationError("client_auth='none' would not use client_secret=")

    @property
    def _is_anonymous(self) -> bool:
        return self.anonymous and not self.client_id and not self.client_secret and not self.key

    @property
    def names_token_endpoint(self) -> bool:
        """Whether what it sends depends on where that is."""
        return self.method.endswith("_jwt") and self.audience is None and not self._is_anonymous

    def apply(self, token_url: str, context: FetchContext) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the header fields and the parameters that authenticate one try; an assertion has a new ``jti``.

        Raises:
            ConfigurationError: The key cannot sign, or the extra ``[crypto]`` is not installed.
        """
        if self._is_anonymous:
            return {}, {}
        client_id = str(from_context(self.client_id, context))
        secret = from_context(self.client_secret, context)
        if self.method == "client_secret_basic":
            pair = f"{quote_plus(client_id)}:{quote_plus(str(secret))}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}
        if self.method == "client_secret_post":
            return {}, {"client_id": client_id, "client_secret": secret}
        if self.method.endswith("_jwt"):
            return {}, self._assertion(client_id, secret, token_url, context)
        return {}, {"client_id": client_id}

    def _assertion(self, client_id: str, secret: Any, token_url: str, context: FetchContext) -> dict[str, Any]:
        by_secret = self.method == "client_secret_jwt"
        assertion = signed_jwt(
            {"iss": client_id, "sub": client_id, "aud": self.audience or token_url},
            key=secret if by_secret else from_context(self.key, context),
            key_id=self.key_id,
            algorithm=self.algorithm or ("HS256" if by_secret else None),
            lifetime=_ASSERTION_LIFETIME,
            argument="client_secret" if by_secret else "client_key",
        )
        # Not everybody reads the client off the assertion, as RFC 7521 section 4.2 has it.
        return {"client_id": client_id, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}


def signed_jwt(
    claims: Mapping[str, Any],
    *,
    key: str | bytes,
    key_id: str | None,
    algorithm: str | None,
    lifetime: float,
    argument: str,
) -> str:
    """Return a JWT with *claims*, the time and a ``jti`` of its own, signed.

    Args:
        claims: The claims that do not change from one try to the next; they win over the others.
        key: A private key, PEM, or a shared secret.
        key_id: The ``kid`` of the header, or None.
        algorithm: None: RS256, ES256, ES384, ES512 or EdDSA, whichever fits the key.
        lifetime: Seconds until ``exp``, rounded up.
        argument: What to call the key in an error.

    Raises:
        ConfigurationError: The key cannot sign so, or the extra ``[crypto]`` is not installed.
    """
    now = int(_clock.time())
    times = {"iat": now, "exp": now + math.ceil(lifetime), "jti": secrets.token_hex(16)}
    header = {"kid": key_id} if key_id else None
    try:
        import jwt

        return jwt.encode({**times, **claims}, key, _algorithm(algorithm, key), headers=header)
    except ImportError:
        problem = "a signed assertion needs the extra requests-tokenkit[crypto]"
    except Exception as error:  # of two libraries, whose errors have no class in common
        # Neither its text nor itself as a context: it may quote the key.
        problem = f"{argument} cannot sign a JWT with this algorithm ({type(error).__name__})"
    raise ConfigurationError(problem)


def _algorithm(given: str | None, key: str | bytes) -> str:
    if given and given.startswith("HS"):
        return given
    # Imported for a given one, too: without it PyJWT says only that it does not know RS256.
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if given:
        return given
    loaded = load_pem_private_key(key.encode() if isinstance(key, str) else key, password=None)
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return {384: "ES384", 521: "ES512"}.get(loaded.key_size, "ES256")
    return "EdDSA"
