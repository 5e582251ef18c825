"""A token in the forms in which other programs take it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from tokenkit.tokens import Token

__all__ = ["FORMATS", "facts", "formatted", "instant"]

FORMATS = ("text", "header", "json", "env", "exec-credential")


def formatted(token: Token, form: str) -> str:
    """Return *token* as *form* has it, one of :data:`FORMATS`, without a newline at its end."""
    if form == "header":
        return f"Authorization: {token.authorization}"
    if form == "json":
        return json.dumps({"access_token": token.access_token, "token_type": token.token_type, **_times(token)})
    if form == "env":
        return f"TOKENKIT_TOKEN={token.access_token}"  # visible ASCII without spaces: nothing to quote but quotes
    if form == "exec-credential":  # client.authentication.k8s.io, as kubectl reads it
        status = {"token": token.access_token}
        if token.expires_at is not None:
            status["expirationTimestamp"] = instant(token.expires_at)
        return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
    return token.access_token


def facts(token: Token) -> dict[str, Any]:
    """Return what may be said of *token* to anybody."""
    left = token.expires_in()
    return {
        "type": token.token_type,
        "fingerprint": token.fingerprint,
        "expires": "never" if token.expires_at is None else instant(token.expires_at),
        "seconds left": "unlimited" if left is None else int(left),
        "scope": token.scope or "not told",
        "refresh token": "yes" if token.refresh_token else "no",
    }


def instant(moment: datetime) -> str:
    """Return *moment* as RFC 3339 with Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _times(token: Token) -> dict[str, Any]:
    if token.expires_at is None:
        return {}
    return {"expires_at": int(token.expires_at.timestamp()), "expires": instant(token.expires_at)}
