"""The claims that a resource asked for when it rejected a token, as a parameter of the token request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from tokenkit.contracts import Challenge

__all__ = ["with_claims"]


def with_claims(params: Mapping[str, Any], challenge: Challenge | None) -> dict[str, Any]:
    """Return *params* with the ``claims`` that *challenge* asks for, beside those that are there (OpenID Connect 5.5).

    Args:
        params: Of a token request.
        challenge: What a resource said; None: nothing. It counts where its error is ``insufficient_claims``.
    """
    wanted = _read(challenge.claims) if challenge is not None and challenge.error == "insufficient_claims" else None
    if not wanted:
        return dict(params)
    return {**params, "claims": json.dumps(_merged(_read(params.get("claims")) or {}, wanted))}


def _read(claims: object) -> dict[str, Any] | None:
    """Return the JSON object in *claims*; None where there is none."""
    if not isinstance(claims, str):
        return dict(claims) if isinstance(claims, Mapping) else None
    text = claims.strip()
    try:
        if not text.startswith("{"):  # base64, of either alphabet and with padding or without
            text = base64.urlsafe_b64decode(text.translate({43: 45, 47: 95}).rstrip("=") + "==").decode()
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(first[name], value)
        for name, value in second.items()
        if isinstance(value, dict) and isinstance(first.get(name), dict)
    }
    return {**first, **second, **both}
