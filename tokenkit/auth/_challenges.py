"""What a ``WWW-Authenticate`` header says: RFC 9110 section 11.6.1, with the errors of RFC 6750 section 3.1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tokenkit.contracts import Challenge

__all__ = ["Parsed", "is_scope_refusal", "parse_challenges", "rejection"]

# Compiled when the first header is read, which the module re remembers.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = r"[\s,]*"
_SCHEME = rf"({_TOKEN})(?=[\s,]|\Z)\s*"
_TOKEN68 = r"([A-Za-z0-9._~+/-]+=*)\s*(?=,|\Z)"
# A quoted string that does not end is taken to the header's end, so that no mark is looked at twice.
_PARAM = rf'(?s:({_TOKEN})\s*=\s*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"?)\s*)'
_ESCAPED = r"(?s:\\(.))"


class Parsed(NamedTuple):
    """One challenge of a server's; names in lower case, of equal names the first."""

    scheme: str
    token68: str | None
    params: Mapping[str, str]


def parse_challenges(header: str) -> list[Parsed]:
    """Return the challenges of a header's value, in order. What cannot be read is skipped up to the next comma.

    Args:
        header: The value; several header lines joined by commas, as HTTP has it.
    """
    found: list[Parsed] = []
    at = _after(_GAP, header, 0)
    while at < len(header):
        scheme = re.compile(_SCHEME).match(header, at)
        if scheme is None:
            comma = header.find(",", at)
            at = len(header) if comma < 0 else _after(_GAP, header, comma)
            continue
        token68 = re.compile(_TOKEN68).match(header, scheme.end())
        params, at = ({}, token68.end()) if token68 else _params(header, scheme.end())
        found.append(Parsed(scheme[1].lower(), token68[1] if token68 else None, params))
        at = _after(_GAP, header, at)
    return found


def _params(header: str, at: int) -> tuple[dict[str, str], int]:
    params: dict[str, str] = {}
    while (param := re.compile(_PARAM).match(header, _after(_GAP, header, at))) is not None:
        value = param[2] if param[2] is not None else re.sub(_ESCAPED, r"\1", param[3])
        params.setdefault(param[1].lower(), value)
        at = param.end()
    return params, at


def _after(pattern: str, header: str, at: int) -> int:
    match = re.compile(pattern).match(header, at)
    return match.end() if match else at


def rejection(header: str) -> Challenge | None:
    """Return what *header* says of the token that was sent; None where it has no challenge.

    Of several challenges, that counts which names an error for a bearer token, else one for bearer tokens, else the
    first.
    """
    parsed = parse_challenges(header)
    if not parsed:
        return None
    # The first of equals, as max() has it.
    one = max(
        parsed, key=lambda found: (found.scheme == "bearer") + (found.scheme == "bearer" and "error" in found.params)
    )
    max_age = one.params.get("max_age", "")
    return Challenge(
        scheme=one.scheme,
        error=one.params.get("error"),
        scope=one.params.get("scope"),
        claims=one.params.get("claims"),
        acr_values=one.params.get("acr_values"),
        max_age=int(max_age) if max_age.isascii() and max_age.isdigit() and len(max_age) <= 10 else None,
    )


def is_scope_refusal(header: str) -> bool:
    """Return whether the token was good and its scope was not: another token of the same kind would not help."""
    errors = {one.params.get("error") for one in parse_challenges(header) if one.scheme == "bearer"}
    return "insufficient_scope" in errors and "invalid_token" not in errors
