"""django-oauth-toolkit: bare 403s, and a refresh that ends the old access token at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import oauth_servers
from support.fault_proxy import fault_proxy
from support.oauth_servers import OAuthServer

from tokenkit.errors import SignInRequiredError, TokenEndpointError
from tokenkit.fetchers import ClientCredentialsFetcher, PasswordFetcher, RefreshTokenFetcher

pytestmark = pytest.mark.server


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("grant", ["service", "app"])
def test_each_grant_gets_a_token(django_oauth_toolkit: OAuthServer, grant: str, method: str) -> None:
    """Client credentials and the password grant, with the secret in the header or in the form."""
    source = getattr(django_oauth_toolkit, grant)(client_auth=method)
    token = source.fetch()
    assert "read" == token.scope
    assert 200 == django_oauth_toolkit.visit(token.access_token).status_code


def test_a_refresh_ends_the_old_access_token(django_oauth_toolkit: OAuthServer) -> None:
    """What was in flight with the old one gets a 401, although nobody needs another renewal."""
    source = django_oauth_toolkit.lasting.app()
    first = source.fetch()
    second = source.refresh(first)
    assert second.refresh_token != first.refresh_token
    assert 401 == django_oauth_toolkit.visit(first.access_token).status_code
    assert 200 == django_oauth_toolkit.visit(second.access_token).status_code


def test_requests_in_flight_during_a_refresh_cost_no_second_one(
    django_oauth_toolkit: OAuthServer, user_of: Any
) -> None:
    """They are sent again with the token that has replaced theirs already."""
    with fault_proxy(django_oauth_toolkit.port) as proxy:
        user = user_of(django_oauth_toolkit.lasting.app(proxy.url))
        user.manager.get_token()
        with ThreadPoolExecutor(8) as pool:
            visits = [pool.submit(user.get, django_oauth_toolkit.resource_url) for _ in range(40)]
            user.manager.force_refresh()
        assert {200} == {visit.result().status_code for visit in visits}
        assert {200: 2} == proxy.statuses


def test_reuse_of_a_refresh_token_is_noticed(django_oauth_toolkit: OAuthServer) -> None:
    """A spent refresh token is refused for good, and what came of it is revoked."""
    source = django_oauth_toolkit.lasting.app()
    first = source.fetch()
    second = source.refresh(first)
    again = RefreshTokenFetcher(refresh_token=first.refresh_token, **django_oauth_toolkit.lasting.client("app"))
    with pytest.raises(SignInRequiredError, match="sign in again"):
        again.fetch()
    with pytest.raises(TokenEndpointError) as caught:
        source.refresh(second)
    assert "invalid_grant" == caught.value.error


def test_the_metadata_of_an_issuer_with_a_path_are_found(django_oauth_toolkit: OAuthServer) -> None:
    """RFC 8414 puts the well-known part before the issuer's path; all endpoints come from there."""
    source = ClientCredentialsFetcher(
        issuer=django_oauth_toolkit.issuer,
        client_id="service",
        client_secret=oauth_servers.secret_of("service"),
    )
    token = source.fetch()
    assert source.introspect(token)["active"]
    source.revoke(token)
    assert not source.introspect(token)["active"]


def test_the_plain_decorator_answers_a_bare_403(django_oauth_toolkit: OAuthServer, user_of: Any) -> None:
    """With the usual statuses the caller gets it; with 403 among them the token is renewed."""
    source = django_oauth_toolkit.lasting.service()
    url = f"{django_oauth_toolkit.url}/plain"
    usual, wide = user_of(source), user_of(source, refresh_status_codes=(401, 403))
    for user in (usual, wide):
        assert 200 == user.get(url).status_code
        source.revoke(user.manager.current)
    refused = usual.get(url)
    assert (403, None) == (refused.status_code, refused.headers.get("WWW-Authenticate"))
    assert 200 == wide.get(url).status_code


def test_a_scope_that_is_missing_costs_no_renewal(django_oauth_toolkit: OAuthServer, user_of: Any) -> None:
    """403 with insufficient_scope is the answer, even where 403 asks for a renewal."""
    with fault_proxy(django_oauth_toolkit.port) as proxy:
        user = user_of(django_oauth_toolkit.lasting.service(proxy.url), refresh_status_codes=(401, 403))
        answer = user.get(f"{django_oauth_toolkit.url}/writing")
        assert 403 == answer.status_code
        assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
        assert {200: 1} == proxy.statuses


def test_a_challenge_without_spaces_is_understood(django_oauth_toolkit: OAuthServer, user_of: Any) -> None:
    """Its parameters are joined by bare commas; the token is renewed all the same."""
    source = django_oauth_toolkit.lasting.service()
    user = user_of(source)
    user.get(django_oauth_toolkit.resource_url)
    source.revoke(user.manager.current)
    answer = user.get(django_oauth_toolkit.resource_url)
    assert 200 == answer.status_code
    assert answer.history[0].headers["WWW-Authenticate"].startswith('Bearer error="invalid_token",error_description=')


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"scope": "no-such-scope"}, 400, "invalid_scope"),
        ({"username": "nobody"}, 400, "invalid_grant"),
    ],
)
def test_a_refusal_keeps_its_code(
    django_oauth_toolkit: OAuthServer, options: dict[str, str], status: int, error: str
) -> None:
    """A 401 with a Bearer challenge, and 400s, are permanent refusals with RFC 6749's word for it."""
    source: PasswordFetcher = django_oauth_toolkit.app(**options)
    with pytest.raises(TokenEndpointError) as caught:
        source.fetch()
    assert (status, error, False) == (caught.value.status, caught.value.error, caught.value.transient)
