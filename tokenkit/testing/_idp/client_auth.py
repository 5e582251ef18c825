"""Find out which client is asking: RFC 6749 section 2.3, RFC 7523 section 2.2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from urllib.parse import unquote_plus

from tokenkit.testing._idp.assertions import unverified_issuer, verify_assertion
from tokenkit.testing._idp.authority import Authority, Client
from tokenkit.testing._idp.messages import Refusal, Request

__all__ = ["CLIENT_AUTH_METHODS", "authenticate_client", "single_valued"]

CLIENT_AUTH_METHODS = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "none",
)
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_REPEATABLE = frozenset({"resource", "audience"})  # RFC 8693 section 2.1


def single_valued(request: Request) -> dict[str, str]:
    """Return the form's parameters without those that may repeat.

    Raises:
        Refusal: The request is no form posted, or a parameter came twice (RFC 6749 section 3.2).
    """
    if request.method != "POST":
        raise Refusal("invalid_request", "only POST is answered here", status=405, headers=(("Allow", "POST"),))
    form = request.form
    twice = [name for name, values in form.items() if len(values) > 1 and name not in _REPEATABLE]
    if twice or not form:
        raise Refusal("invalid_request", "the body must be a form in which each parameter comes once")
    return {name: values[0] for name, values in form.items() if name not in _REPEATABLE}


def authenticate_client(authority: Authority, request: Request, audiences: Collection[str]) -> Client:
    """Return the client that the request proves to come from.

    Args:
        authority: Who knows the clients.
        request: A form.
        audiences: What the ``aud`` of a client's assertion may be.

    Raises:
        Refusal: It proves nothing, or tries two ways at once.
    """
    form = single_valued(request)
    basic = request.headers.get("authorization", "")
    ways = [bool(basic), "client_secret" in form, "client_assertion" in form]
    if sum(ways) > 1:
        raise Refusal("invalid_request", "a client authenticates in one way only")
    if basic:
        return _by_basic(authority, basic)
    if "client_assertion" in form:
        return _by_assertion(authority, form, audiences)
    client = authority.client(form.get("client_id", ""))
    if client is None or client.secret != form.get("client_secret") or client.key is not None:
        raise _unknown_client()
    return client


def _by_basic(authority: Authority, header: str) -> Client:
    scheme, _, encoded = header.partition(" ")
    challenge = (("WWW-Authenticate", 'Basic realm="token"'),)
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unknown_client(challenge) from None
    # Each part is form-encoded before it is joined: RFC 6749 section 2.3.1.
    client = authority.client(unquote_plus(name))
    if scheme.lower() != "basic" or not colon or client is None or client.secret != unquote_plus(password):
        raise _unknown_client(challenge)
    return client


def _by_assertion(authority: Authority, form: dict[str, str], audiences: Collection[str]) -> Client:
    assertion = form["client_assertion"]
    client_id = unverified_issuer(assertion)
    client = authority.client(client_id)
    key = client and (client.key or client.secret)
    wrong_type = form.get("client_assertion_type") != _JWT_BEARER
    if wrong_type or client is None or not key or form.get("client_id", client_id) != client_id:
        raise _unknown_client()
    claims = verify_assertion(authority, assertion, key, audiences, "invalid_client", needs_id=True)
    if claims["sub"] != client_id:
        raise _unknown_client()
    return client


def _unknown_client(headers: tuple[tuple[str, str], ...] = ()) -> Refusal:
    return Refusal("invalid_client", "the client is unknown or did not prove who it is", headers=headers)
