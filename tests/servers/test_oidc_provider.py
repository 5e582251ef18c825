"""node-oidc-provider, the certified one: it rotates, detects reuse, and believes each assertion once."""

import time
import uuid
from typing import Any

import pytest
import requests
from support import needs, oauth_servers
from support.fault_proxy import fault_proxy
from support.oauth_servers import SHORT, USERS, OAuthServer

from tokenkit import TokenFetchPipeline
from tokenkit.errors import MalformedResponseError, SignInRequiredError, TokenEndpointError, TransportError
from tokenkit.fetchers import (
    ClientCredentialsFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.storage import InMemoryTokenStorage

jwt = needs.module("jwt")

pytestmark = pytest.mark.server

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def client_of(method: str, ec_key: Any) -> dict[str, Any]:
    """Return the arguments of the client that authenticates so."""
    if method == "client_secret_basic":
        return {"client_id": "service", "client_secret": oauth_servers.secret_of("service")}
    if method == "private_key_jwt":
        return {"client_id": "has-key", "client_key": ec_key.private, "client_key_id": "key-1"}
    name = "posts" if method == "client_secret_post" else "signs"
    return {"client_id": name, "client_secret": oauth_servers.secret_of(name) * 2}


@pytest.mark.parametrize(
    "method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"]
)
def test_each_client_authentication_gets_a_token(oidc_provider: OAuthServer, ec_key: Any, method: str) -> None:
    """The token is good at the resource, and its lifetime is the server's."""
    source = ClientCredentialsFetcher(
        token_url=oidc_provider.url + oidc_provider.token, client_auth=method, **client_of(method, ec_key)
    )
    tokens = [source.fetch() for _ in range(3)]
    assert [200] * 3 == [oidc_provider.visit(token.access_token).status_code for token in tokens]
    assert all(SHORT - 1 < token.expires_in() <= SHORT for token in tokens)


def test_a_public_client_signs_a_person_in(oidc_provider: OAuthServer) -> None:
    """client_auth='none' names the client and proves nothing."""
    source = PasswordFetcher(
        token_url=oidc_provider.url + oidc_provider.token,
        client_id="public",
        client_auth="none",
        username="bob",
        password=USERS["bob"],
    )
    assert "bob" == oidc_provider.visit(source.refresh(source.fetch()).access_token).json()["subject"]


def test_a_refresh_token_is_rotated_and_its_reuse_kills_the_family(oidc_provider: OAuthServer) -> None:
    """The second use of a refresh token also revokes what its first use gave; a person is asked for then."""
    source = oidc_provider.lasting.app()
    first = source.fetch()
    second = source.refresh(first)
    assert second.refresh_token not in (None, first.refresh_token)
    assert 200 == oidc_provider.visit(second.access_token).status_code
    again = RefreshTokenFetcher(refresh_token=first.refresh_token, **oidc_provider.lasting.client("app"))
    with pytest.raises(SignInRequiredError, match=r"grant request is invalid; .* sign in again") as caught:
        again.fetch()
    assert not caught.value.transient
    assert 401 == oidc_provider.visit(second.access_token).status_code


def test_a_refresh_token_is_not_spent_again_when_its_answer_was_lost(oidc_provider: OAuthServer) -> None:
    """The server rotated before the answer broke; asking again would look like theft."""
    token = oidc_provider.app().fetch()
    with fault_proxy(oidc_provider.port) as proxy:
        proxy.fail("reset", times=1)
        with pytest.raises(TransportError):
            oidc_provider.app(proxy.url).refresh(token)
        assert {200: 1} == proxy.statuses


def test_a_lost_answer_is_asked_for_with_a_new_assertion(oidc_provider: OAuthServer, ec_key: Any) -> None:
    """The first try's jti is used up although nobody saw its answer; the second try has its own."""
    with fault_proxy(oidc_provider.port) as proxy:
        proxy.fail("cut_body", times=1)
        source = ClientCredentialsFetcher(
            token_url=proxy.url + oidc_provider.token,
            client_auth="private_key_jwt",
            client_assertion_audience=oidc_provider.issuer,
            **client_of("private_key_jwt", ec_key),
        )
        assert 200 == oidc_provider.visit(source.fetch().access_token).status_code
        assert {200: 2} == proxy.statuses


def test_a_replayed_assertion_is_refused(oidc_provider: OAuthServer, ec_key: Any) -> None:
    """That is why each try needs an assertion of its own."""
    claims = {"iss": "has-key", "sub": "has-key", "aud": oidc_provider.issuer, "exp": int(time.time()) + 60}
    assertion = jwt.encode(claims | {"jti": uuid.uuid4().hex}, ec_key.private, "ES256", headers={"kid": "key-1"})
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    answers = [requests.post(oidc_provider.url + oidc_provider.token, form, timeout=10) for _ in range(2)]
    assert [200, 401] == [answer.status_code for answer in answers]
    assert "invalid_client" == answers[1].json()["error"]


def test_a_token_is_exchanged(oidc_provider: OAuthServer) -> None:
    """The subject's token, and the actor's, become one that speaks for both."""
    subject = oidc_provider.app().fetch()
    actor = oidc_provider.app(username="bob", password=USERS["bob"]).fetch()
    source = TokenExchangeFetcher(subject_token=subject, actor_token=actor, **oidc_provider.client("app"))
    assert "alice by bob" == oidc_provider.visit(source.fetch().access_token).json()["subject"]


def test_a_token_is_exchanged_in_a_pipeline(oidc_provider: OAuthServer) -> None:
    """A step's parameter may be a function of the tokens before it."""
    exchange = TokenExchangeFetcher(
        subject_token=lambda context: context["password"],
        depends_on=["password"],
        **oidc_provider.lasting.client("app"),
    )
    pipeline = TokenFetchPipeline([oidc_provider.lasting.app(), exchange], InMemoryTokenStorage())
    assert "alice" == oidc_provider.visit(pipeline.execute().access_token).json()["subject"]


def test_an_unknown_subject_token_is_refused(oidc_provider: OAuthServer) -> None:
    """The endpoint's own word for it arrives as a field."""
    source = TokenExchangeFetcher(subject_token="unknown", **oidc_provider.client("app"))
    with pytest.raises(TokenEndpointError) as caught:
        source.fetch()
    assert "invalid_grant" == caught.value.error


def test_the_metadata_tell_every_endpoint(oidc_provider: OAuthServer) -> None:
    """With issuer= alone, a token is had, examined and revoked; this server has OpenID Connect's page only."""
    source = ClientCredentialsFetcher(issuer=oidc_provider.issuer, **client_of("client_secret_basic", None))
    token = source.fetch()
    assert source.introspect(token)["active"]
    source.revoke(token)
    assert {"active": False} == source.introspect(token)
    assert 401 == oidc_provider.visit(token.access_token).status_code


def test_metadata_of_another_issuer_are_refused(oidc_provider: OAuthServer) -> None:
    """The same server under another name is not the issuer it says it is (RFC 8414 section 3.3)."""
    elsewhere = f"http://localhost:{oidc_provider.port}"
    with pytest.raises(MalformedResponseError, match="is of the issuer"):
        ClientCredentialsFetcher(issuer=elsewhere, **client_of("client_secret_basic", None)).fetch()


def test_a_wrong_secret_is_a_permanent_refusal(oidc_provider: OAuthServer) -> None:
    """401 invalid_client, with a Basic challenge that nobody has to answer."""
    with pytest.raises(TokenEndpointError) as caught:
        oidc_provider.service(client_secret="wrong").fetch()
    assert (401, "invalid_client", False) == (caught.value.status, caught.value.error, caught.value.transient)


def test_a_scope_that_is_dropped_silently_is_not_made_up(oidc_provider: OAuthServer) -> None:
    """This server answers an unknown scope with a token and no word of scopes."""
    token = oidc_provider.service(scope="no-such-scope").fetch()
    assert token.scope is None
    assert "api:read" == oidc_provider.service(scope="api:read no-such-scope").fetch().scope


def test_a_revoked_token_is_renewed_behind_the_request(oidc_provider: OAuthServer, user_of: Any) -> None:
    """The caller sees a 200; the 401 with its challenge is in the history."""
    source = oidc_provider.lasting.service()
    user = user_of(source)
    assert 200 == user.get(oidc_provider.resource_url).status_code
    source.revoke(user.manager.current)
    answer = user.get(oidc_provider.resource_url)
    assert [401, 200] == [one.status_code for one in (*answer.history, answer)]
    assert 'Bearer realm="api", error="invalid_token"' == answer.history[0].headers["WWW-Authenticate"]
