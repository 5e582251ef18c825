"""Verify JWTs that clients and foreign issuers sign (RFC 7523), with PyJWT where it is installed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tokenkit.testing._idp.authority import Authority
from tokenkit.testing._idp.messages import Refusal

__all__ = ["unverified_issuer", "verify_assertion"]

_SHARED = ["HS256", "HS384", "HS512"]
_PUBLIC = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]


def unverified_issuer(assertion: str) -> str:
    """Return the claim ``iss`` of *assertion*, to look its key up by; empty where there is none."""
    import jwt

    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError:
        return ""
    return str(claims.get("iss", ""))


def verify_assertion(
    authority: Authority, assertion: str, key: str, audiences: Collection[str], error: str, *, needs_id: bool
) -> dict[str, Any]:
    """Return the claims of *assertion*, and use up its ``jti``.

    Args:
        authority: Whose clock tells the time and who remembers each ``jti``.
        assertion: The JWT.
        key: A PEM public key, or a shared secret.
        audiences: Any of these must be in ``aud``.
        error: The code to refuse with.
        needs_id: Whether a missing ``jti`` is refused too.

    Raises:
        Refusal: Signature, audience, times or identifier are not in order.
    """
    import jwt

    algorithms = _PUBLIC if key.startswith("-----BEGIN") else _SHARED
    # The authority's clock may be a fake one, so its times are compared here and not by PyJWT.
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "sub", "aud"]}
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion, key, algorithms=algorithms, audience=list(audiences), options=options
        )
    except jwt.PyJWTError as fault:
        raise Refusal(error, f"the assertion is not valid: {type(fault).__name__}") from None
    now = authority.clock.time()
    if now >= claims["exp"] or now + 60 < claims.get("nbf", now):
        raise Refusal(error, "the assertion is not valid at this time")
    if needs_id and "jti" not in claims:
        raise Refusal(error, "the assertion has no jti")
    if "jti" in claims and not authority.use_once(f"{claims.get('iss')} {claims['jti']}"):
        raise Refusal(error, "the assertion was used before")
    return claims
