"""What ``/token`` answers: one function a grant, each from a request in good order to a token or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from tokenkit.testing._idp.assertions import unverified_issuer, verify_assertion
from tokenkit.testing._idp.authority import Authority, Client, IssuedToken
from tokenkit.testing._idp.client_auth import authenticate_client, single_valued
from tokenkit.testing._idp.messages import Refusal, Request

__all__ = ["GRANT_TYPES", "answer_token_request", "short_name", "token_answer"]

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"


@final
@dataclass(frozen=True, slots=True, repr=False)
class _Ask:
    """One request by a known client; *audiences* are what an assertion may be meant for."""

    authority: Authority
    client: Client
    form: Mapping[str, str]
    targets: tuple[str, ...]
    audiences: tuple[str, ...]

    def required(self, name: str) -> str:
        value = self.form.get(name)
        if not value:
            raise Refusal("invalid_request", f"the parameter {name} is missing")
        return value

    def grant(self, subject: str, *, scope: str | None = None) -> dict[str, Any]:
        """Issue an access token to the client and, where the grant is answered with one, a refresh token."""
        scope = self.form.get("scope", scope)
        grant = short_name(self.form["grant_type"])
        return token_answer(
            self.authority,
            "token",
            grant,
            subject=subject,
            client_id=self.client.client_id,
            scope=scope,
            targets=self.targets,
        )


def answer_token_request(authority: Authority, request: Request, audiences: tuple[str, ...]) -> dict[str, Any]:
    """Return the answer of RFC 6749 section 5.1 to a request to the token endpoint.

    Args:
        authority: Whose rules hold.
        request: As it arrived.
        audiences: What assertions may name as their audience: the issuer and the token endpoint.

    Raises:
        Refusal: With the code that RFC 6749 section 5.2, RFC 7523 or RFC 8693 demands.
    """
    form = single_valued(request)
    if _is_anonymous(form, request):
        client = Client(unverified_issuer(form["assertion"]))
    else:
        client = authenticate_client(authority, request, audiences)
    repeated = request.form
    targets = (*repeated.get("audience", ()), *repeated.get("resource", ()))
    ask = _Ask(authority, client, form, targets, audiences)
    grant_type = ask.required("grant_type")
    grant = GRANT_TYPES.get(grant_type)
    if grant is None:
        raise Refusal("unsupported_grant_type", "this server has no such grant")
    if client.grants is not None and short_name(grant_type) not in client.grants:
        raise Refusal("unauthorized_client", "the client may not use this grant")
    if client.scopes is not None and not client.scopes.issuperset(form.get("scope", "").split()):
        raise Refusal("invalid_scope", "the client may not ask for that scope")
    return grant(ask)


def _is_anonymous(form: Mapping[str, str], request: Request) -> bool:
    """Say whether the assertion stands alone: with one, a client need not authenticate (RFC 7523 section 2.1)."""
    named = form.keys() & {"client_id", "client_secret", "client_assertion"} or "authorization" in request.headers
    return form.get("grant_type") == _JWT_BEARER and bool(form.get("assertion")) and not named


def short_name(grant_type: str) -> str:
    """Return the name a grant is counted by: the last part of its URN, or all of a plain name."""
    return grant_type.rpartition(":")[2]


def token_answer(
    authority: Authority,
    endpoint: str,
    grant: str,
    *,
    subject: str,
    client_id: str,
    scope: str | None = None,
    targets: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Issue what *grant* is answered with, of a new family, and put it in the words of RFC 6749 section 5.1."""
    access = authority.issue(
        "access",
        authority.lifetime_of(endpoint),
        subject=subject,
        client_id=client_id,
        scope=scope,
        targets=targets,
    )
    refresh = _refresh_token_beside(authority, access) if authority.issues_refresh_token(grant) else None
    return _in_words(access, refresh)


def _refresh_token_beside(authority: Authority, access: IssuedToken) -> IssuedToken:
    return authority.issue(
        "refresh",
        authority.lifetime_of("refresh"),
        subject=access.subject,
        client_id=access.client_id,
        scope=access.scope,
        targets=access.targets,
        family=access.family,
    )


def _in_words(access: IssuedToken, refresh: IssuedToken | None) -> dict[str, Any]:
    words: dict[str, Any] = {"access_token": access.value, "token_type": "Bearer"}
    if access.expires_in is not None:
        words["expires_in"] = access.expires_in
    if access.scope is not None:
        words["scope"] = access.scope
    if refresh is not None:
        words["refresh_token"] = refresh.value
        if refresh.expires_in is not None:
            words["refresh_expires_in"] = refresh.expires_in
    return words


def _client_credentials(ask: _Ask) -> dict[str, Any]:
    if ask.client.secret is None and ask.client.key is None:
        raise Refusal("unauthorized_client", "a public client has no credentials to use")
    return ask.grant(ask.client.client_id)


def _password(ask: _Ask) -> dict[str, Any]:
    username = ask.required("username")
    if not ask.authority.has_user(username, ask.required("password")):
        raise Refusal("invalid_grant", "username or password is wrong")
    return ask.grant(username)


def _refresh_token(ask: _Ask) -> dict[str, Any]:
    authority = ask.authority
    spent = authority.spend(ask.required("refresh_token"), ask.client.client_id, ask.form.get("scope"))
    access = authority.issue(
        "access",
        authority.lifetime_of("token"),
        subject=spent.subject,
        client_id=spent.client_id,
        scope=ask.form.get("scope", spent.scope),
        targets=ask.targets or spent.targets,
        family=spent.family,
    )
    return _in_words(access, _refresh_token_beside(authority, spent) if authority.rotates else None)


def _authorization_code(ask: _Ask) -> dict[str, Any]:
    code, redirect_uri, verifier = (ask.required(name) for name in ("code", "redirect_uri", "code_verifier"))
    username, scope = ask.authority.sign_ins.redeem_code(code, ask.client.client_id, redirect_uri, verifier)
    return ask.grant(username, scope=scope)


def _device_code(ask: _Ask) -> dict[str, Any]:
    username, scope = ask.authority.sign_ins.redeem_device(ask.required("device_code"), ask.client.client_id)
    return ask.grant(username, scope=scope)


def _jwt_bearer(ask: _Ask) -> dict[str, Any]:
    claims = _foreign_claims(ask, ask.required("assertion"), "invalid_grant")
    return ask.grant(str(claims["sub"]))


def _token_exchange(ask: _Ask) -> dict[str, Any]:
    ask.required("subject_token_type")
    subject = _subject_of(ask, ask.required("subject_token"))
    if "actor_token" in ask.form:
        ask.required("actor_token_type")
        _subject_of(ask, ask.form["actor_token"])
    elif "actor_token_type" in ask.form:
        raise Refusal("invalid_request", "there is an actor_token_type without an actor_token")
    return {**ask.grant(subject), "issued_token_type": _ACCESS_TOKEN_TYPE}


def _subject_of(ask: _Ask, token: str) -> str:
    """Return whom *token* speaks for: one of ours, or a JWT of an issuer that is trusted here."""
    ours = ask.authority.find(token)
    if ours is not None:
        return ours.subject
    if token.count(".") == 2:
        return str(_foreign_claims(ask, token, "invalid_request")["sub"])
    raise Refusal("invalid_request", "the token to exchange is not valid")  # RFC 8693 section 2.2.2


def _foreign_claims(ask: _Ask, assertion: str, error: str) -> dict[str, Any]:
    key = ask.authority.issuer_key(unverified_issuer(assertion))
    if key is None:
        raise Refusal(error, "the issuer of the assertion is not trusted here")
    return verify_assertion(ask.authority, assertion, key, ask.audiences, error, needs_id=False)


GRANT_TYPES: Mapping[str, Callable[[_Ask], dict[str, Any]]] = {
    "client_credentials": _client_credentials,
    "authorization_code": _authorization_code,
    "password": _password,
    "refresh_token": _refresh_token,
    "urn:ietf:params:oauth:grant-type:device_code": _device_code,
    _JWT_BEARER: _jwt_bearer,
    "urn:ietf:params:oauth:grant-type:token-exchange": _token_exchange,
}
