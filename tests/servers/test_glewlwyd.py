"""glewlwyd, the adversary: refusals without a word, 401 without a challenge, 'bearer' in lower case."""

from typing import Any

import pytest
import requests
from support import oauth_servers
from support.fault_proxy import fault_proxy
from support.oauth_servers import SHORT, OAuthServer

from tokenkit import TokenManager
from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers import ClientCredentialsFetcher, RefreshTokenFetcher

pytestmark = pytest.mark.server


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials_get_a_token(glewlwyd: OAuthServer, method: str) -> None:
    """Its token_type is 'bearer', which is sent as 'Bearer'."""
    source = glewlwyd.service(scope="api", client_auth=method)
    token = source.fetch()
    assert ("Bearer", True) == (token.token_type, SHORT - 1 < token.expires_in() <= SHORT)
    assert token.authorization.startswith("Bearer ")
    assert source.introspect(token)["active"]
    source.revoke(token)
    assert {"active": False} == source.introspect(token)


def test_the_type_is_really_in_lower_case(glewlwyd: OAuthServer) -> None:
    """That is what the server says on the wire."""
    client = ("service", oauth_servers.secret_of("service"))
    form = {"grant_type": "client_credentials", "scope": "api"}
    answer = requests.post(glewlwyd.url + glewlwyd.token, form, auth=client, timeout=10)
    assert "bearer" == answer.json()["token_type"]


def test_a_password_and_a_refresh_token_are_grants(glewlwyd: OAuthServer) -> None:
    """Refresh tokens are good for one use."""
    source = glewlwyd.lasting.app()
    first = source.fetch()
    second = source.refresh(first)
    assert second.refresh_token not in (None, first.refresh_token)
    assert 200 == glewlwyd.lasting.visit(second.access_token).status_code


def test_the_metadata_of_an_issuer_with_a_path_are_found(glewlwyd: OAuthServer) -> None:
    """They are where OpenID Connect has them: below the issuer's path."""
    source = ClientCredentialsFetcher(
        issuer=glewlwyd.issuer,
        client_id="service",
        client_secret=oauth_servers.secret_of("service"),
        scope="api",
    )
    assert source.introspect(source.fetch())["active"]


def test_an_empty_refusal_is_a_refusal(glewlwyd: OAuthServer) -> None:
    """400 with no body is permanent: no field is made up, and it is not retried."""
    with fault_proxy(glewlwyd.port) as proxy:
        with pytest.raises(TokenEndpointError) as caught:
            glewlwyd.app(proxy.url).refresh(glewlwyd.app().fetch().from_dict(_spent(glewlwyd)))
        assert {400: 1} == proxy.statuses
    error = caught.value
    assert (400, None, None, False) == (error.status, error.error, error.error_description, error.transient)


def test_an_empty_refusal_of_a_refresh_token_is_no_word_about_it(glewlwyd: OAuthServer) -> None:
    """Without an OAuth error it may be a proxy's: the grant is kept, and nobody is asked to sign in."""
    spent = _spent(glewlwyd)["refresh_token"]
    with pytest.raises(TokenEndpointError, match="status 400"):
        RefreshTokenFetcher(refresh_token=spent, **glewlwyd.client("app")).fetch()


def test_a_refused_refresh_token_falls_back_to_the_full_grant(glewlwyd: OAuthServer) -> None:
    """The manager, too, takes the empty 400 for a refresh token that is no longer good, and signs in anew."""
    with fault_proxy(glewlwyd.port) as proxy, TokenManager(glewlwyd.lasting.app(proxy.url)) as manager:
        first = manager.get_token()
        glewlwyd.lasting.app().refresh(first)  # somebody else spends it
        second = manager.force_refresh()
        assert {200: 2, 400: 1} == proxy.statuses
    assert 200 == glewlwyd.lasting.visit(second.access_token).status_code


def test_a_401_without_a_challenge_is_renewed(glewlwyd: OAuthServer, user_of: Any) -> None:
    """The status alone is enough."""
    source = glewlwyd.lasting.app()
    user = user_of(source)
    assert 200 == user.get(glewlwyd.lasting.resource_url).status_code
    source.revoke(user.manager.current.access_token)
    answer = user.get(glewlwyd.lasting.resource_url)
    assert [401, 200] == [one.status_code for one in (*answer.history, answer)]
    assert "WWW-Authenticate" not in answer.history[0].headers


def test_a_wrong_secret_is_a_permanent_refusal(glewlwyd: OAuthServer) -> None:
    """Whatever it says, a refusal of the client is not retried."""
    with pytest.raises(TokenEndpointError) as caught:
        glewlwyd.service(scope="api", client_secret="wrong").fetch()
    assert not caught.value.transient


def _spent(server: OAuthServer) -> dict[str, Any]:
    """Return a token whose refresh token has been spent."""
    token = server.app().fetch()
    server.app().refresh(token)
    return token.to_dict()
