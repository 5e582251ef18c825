"""Authlib's Flask server: the one with the JWT bearer grant of RFC 7523."""

import time
import uuid
from typing import Any

import pytest
import requests
from support import needs
from support.fault_proxy import fault_proxy
from support.oauth_servers import OAuthServer

from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers import ClientCredentialsFetcher, JwtBearerFetcher

jwt = needs.module("jwt")

pytestmark = pytest.mark.server


def keyed_client(server: OAuthServer, rsa_key: Any, base: str | None = None) -> ClientCredentialsFetcher:
    return ClientCredentialsFetcher(
        client_id="has-key", client_auth="private_key_jwt", client_key=rsa_key.private, **server.endpoints(base)
    )


def test_a_signed_assertion_is_a_grant(authlib: OAuthServer, rsa_key: Any) -> None:
    """Made of a key, an issuer and a subject, anew at each fetch, with no client named besides."""
    source = JwtBearerFetcher(issuer="has-key", subject="alice", key=rsa_key.private, **authlib.endpoints())
    tokens = [source.fetch() for _ in range(2)]
    assert tokens[0] != tokens[1]
    assert ["alice"] * 2 == [authlib.visit(token.access_token).json()["subject"] for token in tokens]


def test_a_finished_assertion_is_a_grant(authlib: OAuthServer, rsa_key: Any) -> None:
    """It is sent as it is, from a function as well."""
    now = int(time.time())
    claims = {"iss": "has-key", "sub": "bob", "aud": authlib.url + authlib.token, "iat": now, "exp": now + 60}
    assertion = jwt.encode(claims | {"jti": uuid.uuid4().hex}, rsa_key.private, "RS256")
    source = JwtBearerFetcher(assertion=lambda: assertion, **authlib.endpoints())
    assert "bob" == authlib.visit(source.fetch().access_token).json()["subject"]


@pytest.mark.parametrize("wrong", [{"issuer": "stranger"}, {"subject": "nobody"}, {"assertion_audience": "elsewhere"}])
def test_an_assertion_that_is_not_believed_is_refused(authlib: OAuthServer, rsa_key: Any, wrong: Any) -> None:
    """Of an unknown issuer, for an unknown subject or another audience: a permanent refusal."""
    arguments = {"issuer": "has-key", "subject": "alice"} | wrong
    source = JwtBearerFetcher(key=rsa_key.private, **arguments, **authlib.endpoints())
    with pytest.raises(TokenEndpointError) as caught:
        source.fetch()
    assert caught.value.status in (400, 401)
    assert not caught.value.transient


def test_a_key_authenticates_the_client(authlib: OAuthServer, rsa_key: Any) -> None:
    """private_key_jwt at all three endpoints, each time with a new assertion."""
    source = keyed_client(authlib, rsa_key)
    token = source.fetch()
    assert source.introspect(token)["active"]
    source.revoke(token)
    assert not source.introspect(token)["active"]


def test_a_replayed_assertion_is_refused(authlib: OAuthServer, rsa_key: Any) -> None:
    """With 400 here, where RFC 6749 section 5.2 has 401."""
    claims = {"iss": "has-key", "sub": "has-key", "aud": authlib.url + authlib.token, "exp": int(time.time()) + 60}
    assertion = jwt.encode(claims | {"jti": uuid.uuid4().hex}, rsa_key.private, "RS256")
    assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form = {"grant_type": "client_credentials", "client_assertion_type": assertion_type, "client_assertion": assertion}
    answers = [requests.post(authlib.url + authlib.token, form, timeout=10) for _ in range(2)]
    assert [200, 400] == [answer.status_code for answer in answers]
    assert "invalid_client" == answers[1].json()["error"]


def test_a_lost_answer_is_asked_for_with_a_new_assertion(authlib: OAuthServer, rsa_key: Any) -> None:
    """The first try used up its jti, so a plain repetition would fail."""
    with fault_proxy(authlib.port) as proxy:
        proxy.fail("reset", times=1)
        token = keyed_client(authlib, rsa_key, proxy.url).fetch()
        assert {200: 2} == proxy.statuses
    assert 200 == authlib.visit(token.access_token).status_code


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_password_and_a_refresh_token_are_grants(authlib: OAuthServer, method: str) -> None:
    """Rotation included: the spent one is refused."""
    source = authlib.lasting.app(client_auth=method)
    first = source.fetch()
    second = source.refresh(first)
    assert "alice" == authlib.visit(second.access_token).json()["subject"]
    elsewhere = authlib.lasting.app(client_auth=method)  # another program: this one would send what it got for it
    with pytest.raises(TokenEndpointError) as caught:
        elsewhere.refresh(first)
    assert "invalid_grant" == caught.value.error


def test_a_revoked_token_is_renewed_behind_the_request(authlib: OAuthServer, user_of: Any) -> None:
    """The challenge of a missing token is 'bearer' in lower case here, that of a revoked one is not."""
    assert authlib.visit(None).headers["WWW-Authenticate"].startswith("bearer ")
    source = authlib.lasting.service()
    user = user_of(source)
    assert 200 == user.get(authlib.resource_url).status_code
    source.revoke(user.manager.current)
    answer = user.get(authlib.resource_url)
    assert [401, 200] == [one.status_code for one in (*answer.history, answer)]


def test_a_wrong_secret_is_a_permanent_refusal(authlib: OAuthServer) -> None:
    """401 invalid_client."""
    with pytest.raises(TokenEndpointError) as caught:
        authlib.service(client_secret="wrong").fetch()
    assert (401, "invalid_client", False) == (caught.value.status, caught.value.error, caught.value.transient)
