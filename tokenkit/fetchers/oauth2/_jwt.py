"""Signed JWTs, as assertions and as tokens: with the extra ``[crypto]``."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tokenkit.errors import ConfigurationError

__all__ = ["check_key", "signed_jwt"]


def check_key(argument: str, key: Any) -> None:
    """Check that *key* can be a private key: PEM, a key object, a shared secret, or a function that returns one.

    Raises:
        ConfigurationError: It is something else, such as a path or a JWK.
    """
    if isinstance(key, (str, bytes)) or callable(key) or hasattr(key, "private_bytes"):
        return
    raise ConfigurationError(f"{argument} must be PEM text, or a function that returns it, not {type(key).__name__}")


def signed_jwt(
    claims: Mapping[str, Any],
    *,
    key: Any,
    now: datetime,
    key_id: str | None = None,
    algorithm: str | None = None,
    password: str | bytes | None = None,
    headers: Mapping[str, Any] | None = None,
    lifetime: float = 60.0,
    argument: str = "key",
) -> str:
    """Return a JWT with *claims*, the time and a ``jti`` of its own, signed.

    Args:
        claims: The claims that do not change from one try to the next; they win over the others.
        key: A private key, PEM or an object of the package cryptography, or a shared secret.
        now: The time, for ``iat`` and ``exp``.
        key_id: The ``kid`` of the header, or None.
        algorithm: None: RS256, ES256, ES384, ES512 or EdDSA, whichever fits the key.
        password: Of the key, where it is encrypted.
        headers: Further fields of the header, such as ``x5t``.
        lifetime: Seconds until ``exp``, rounded up.
        argument: What to call the key in an error.

    Raises:
        ConfigurationError: The key cannot sign so, or the extra ``[crypto]`` is not installed.
    """
    moment = int(now.timestamp())
    times = {"iat": moment, "exp": moment + math.ceil(lifetime), "jti": secrets.token_hex(16)}
    header = {**({"kid": key_id} if key_id else {}), **(headers or {})}
    by_secret = (algorithm or "").startswith("HS")
    try:
        import jwt

        if not by_secret:  # without it PyJWT says only that it does not know RS256
            from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: F401
    except ImportError:
        raise ConfigurationError("a signed JWT needs the extra requests-tokenkit[crypto]") from None
    check_key(argument, key)
    if not by_secret:
        key = _private_key(key, password, argument)
        algorithm = algorithm or _usual_algorithm(key)
    try:
        return jwt.encode({**times, **claims}, key, algorithm, headers=header or None)
    except Exception as error:  # of two libraries, whose errors have no class in common
        # Neither its text nor itself as a context: it may quote the key.
        problem = type(error).__name__
    raise ConfigurationError(f"{argument} cannot sign these claims with the algorithm {algorithm} ({problem})")


def _private_key(key: Any, password: str | bytes | None, argument: str) -> Any:
    if not isinstance(key, (str, bytes)):
        return key
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = key.encode() if isinstance(key, str) else key
    secret = password.encode() if isinstance(password, str) else password
    if b"-----BEGIN" not in pem:
        raise ConfigurationError(
            f"{argument} must be the text of a PEM file, which begins with '-----BEGIN'; of a file, give its text,"
            " or a function that reads it"
        )
    if b"PRIVATE KEY-----" not in pem:
        raise ConfigurationError(f"{argument} must be a private key; this PEM text holds something else")
    is_encrypted = b"ENCRYPTED" in pem
    try:
        return load_pem_private_key(pem, password=secret if is_encrypted else None)
    except Exception as error:  # as above
        problem = f"cannot be read ({type(error).__name__})"
    if is_encrypted:
        problem = "cannot be decrypted with this password" if secret else "is encrypted, and its password is missing"
        problem += f"; see {argument}_password="
    raise ConfigurationError(f"{argument} {problem}")


def _usual_algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {384: "ES384", 521: "ES512"}.get(key.key_size, "ES256")
    return "EdDSA"
