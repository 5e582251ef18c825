"""With responses, by which users test their code."""

import requests
import responses
from support.protected import Issuer, managed

from tokenkit.auth import AuthorizedSession, BearerAuth

URL = "https://api.example.com/v1/users"


def test_a_rejection_is_made_good() -> None:
    """Two answers registered for one URL, a 401 and a 200, are enough to see it."""
    with managed(Issuer()) as manager, responses.RequestsMock() as mock:
        mock.get(URL, status=401, json={"error": "no"})
        mock.get(URL, json={"ok": True}, match=[responses.matchers.header_matcher({"Authorization": "Bearer token-2"})])
        response = requests.get(URL, auth=BearerAuth(manager), timeout=10)
    assert ({"ok": True}, [401]) == (response.json(), [one.status_code for one in response.history])


def test_our_session_can_be_mocked() -> None:
    """Its adapter is one of requests', so responses stands in for it, with a deadline too."""
    with managed(Issuer()) as manager, responses.RequestsMock() as mock:
        mock.get(URL, json={"ok": True})
        with AuthorizedSession(manager, base_url="https://api.example.com/v1/") as session:
            assert {"ok": True} == session.get("users", max_allowed_time=5).json()
        assert "Bearer token-1" == mock.calls[0].request.headers["Authorization"]
