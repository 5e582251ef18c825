"""With requests-toolbelt: its multipart encoder and its session with a base URL."""

from collections.abc import Iterator

import pytest
import requests
from support import needs
from support.protected import Issuer, Resource, managed

from tokenkit.auth import BearerAuth

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:requests_toolbelt")

needs.module("requests_toolbelt")


@pytest.fixture
def auth(mint: Issuer) -> Iterator[BearerAuth]:
    with managed(mint) as manager:
        yield BearerAuth(manager)


def test_its_encoder_is_sent_once(auth: BearerAuth, api: Resource, mint: Issuer) -> None:
    """It streams and cannot go back: a rejected upload is the caller's to repeat, the token is new by then."""
    from requests_toolbelt import MultipartEncoder

    auth.manager.get_token()
    mint.revoke()
    statuses = []
    for _ in range(2):
        body = MultipartEncoder({"file": ("name", b"content")})
        headers = {"Content-Type": body.content_type}
        statuses.append(requests.post(api.url, data=body, headers=headers, auth=auth, timeout=10).status_code)
    assert [401, 200] == statuses
    assert [True, True] == [b"content" in seen.body for seen in api.seen]


def test_its_base_url_session_is_authorised(auth: BearerAuth, api: Resource, mint: Issuer) -> None:
    """As any session, with the second request going to the same place."""
    from requests_toolbelt.sessions import BaseUrlSession

    auth.manager.get_token()
    mint.revoke()
    with BaseUrlSession(base_url=f"{api.url}/v1/") as session:
        session.auth = auth
        assert 200 == session.get("users").status_code
    assert ["/v1/users"] * 2 == [seen.path for seen in api.seen]
