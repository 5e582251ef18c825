"""LocalIdP lets people sign in: by a browser, and at a device."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tokenkit.testing import FakeClock, LocalIdP

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
AUTH = ("client", "secret")
ASKED = {
    "response_type": "code",
    "client_id": "client",
    "redirect_uri": "http://127.0.0.1:9/",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "s1",
    "scope": "orders",
}
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def idp(fake_clock: FakeClock) -> Iterator[LocalIdP]:
    with LocalIdP(clock=fake_clock) as idp:
        yield idp


def agreed(idp: LocalIdP, **changes: Any) -> requests.Response:
    """What the server says when alice fills in its form."""
    form = ASKED | {"username": "alice", "password": "wonderland"} | changes
    return requests.post(idp.authorization_url, data=form, allow_redirects=False, timeout=5)


def came_back(response: requests.Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def redeem(idp: LocalIdP, **changes: Any) -> requests.Response:
    form = {"grant_type": "authorization_code", "redirect_uri": ASKED["redirect_uri"], "code_verifier": VERIFIER}
    return requests.post(idp.token_url, auth=AUTH, data=form | changes, timeout=5)


def test_a_person_sees_a_form(idp: LocalIdP) -> None:
    """The authorization endpoint shows a page that asks for user and password."""
    page = requests.get(f"{idp.authorization_url}?{urlencode(ASKED)}", timeout=5)
    assert 200 == page.status_code
    assert "name=password" in page.text


def test_a_code_buys_a_token_with_a_refresh_token_once(idp: LocalIdP) -> None:
    """What comes back is a code, the state and the issuer; a second use of the code is refused."""
    fields = came_back(agreed(idp))
    assert {"state": "s1", "iss": idp.issuer} == {name: fields[name] for name in ("state", "iss")}
    token = redeem(idp, code=fields["code"]).json()
    assert "orders" == token["scope"]
    assert token["refresh_token"]
    assert "invalid_grant" == redeem(idp, code=fields["code"]).json()["error"]


@pytest.mark.parametrize("wrong", [{"code_verifier": "w" * 43}, {"redirect_uri": "http://127.0.0.1:10/"}])
def test_a_code_is_good_for_whoever_asked(idp: LocalIdP, wrong: dict[str, str]) -> None:
    """Another verifier or redirect does not fit (RFC 7636, RFC 6749 section 4.1.3)."""
    assert "invalid_grant" == redeem(idp, code=came_back(agreed(idp))["code"], **wrong).json()["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_challenge_method": "plain"},
        {"redirect_uri": "https://evil.example/"},
        {"client_id": "nobody"},
        {"response_type": "token"},
        {"request_uri": "urn:ietf:params:oauth:request_uri:nobody-pushed-it"},
    ],
)
def test_a_wrong_request_leads_nowhere(idp: LocalIdP, wrong: dict[str, str]) -> None:
    """It is told on a page, and the browser is sent to no address that the request names."""
    response = agreed(idp, **wrong)
    assert 400 == response.status_code
    assert "Location" not in response.headers


def test_a_person_may_say_no(idp: LocalIdP) -> None:
    """The program is told access_denied."""
    assert "access_denied" == came_back(agreed(idp, answer="no"))["error"]


def test_a_wrong_password_is_asked_for_again(idp: LocalIdP) -> None:
    """The form is shown once more."""
    assert 403 == agreed(idp, password="wrong").status_code


def test_a_request_may_be_pushed(idp: LocalIdP) -> None:
    """Then the browser carries its name alone (RFC 9126)."""
    idp.takes_pushed_requests = True
    assert f"{idp.url}/par" == requests.get(idp.metadata_url, timeout=5).json()["pushed_authorization_request_endpoint"]
    pushed = requests.post(f"{idp.url}/par", auth=AUTH, data=ASKED, timeout=5)
    assert 201 == pushed.status_code
    form = {"client_id": "client", "request_uri": pushed.json()["request_uri"]}
    form |= {"username": "alice", "password": "wonderland"}
    back = requests.post(idp.authorization_url, data=form, allow_redirects=False, timeout=5)
    assert 200 == redeem(idp, code=came_back(back)["code"]).status_code


def begin(idp: LocalIdP) -> dict[str, Any]:
    answer = requests.post(idp.device_authorization_url, auth=AUTH, data={"scope": "orders"}, timeout=5)
    return dict(answer.json())


def poll(idp: LocalIdP, device: dict[str, Any]) -> dict[str, Any]:
    form = {"grant_type": DEVICE_CODE, "device_code": device["device_code"]}
    return dict(requests.post(idp.token_url, auth=AUTH, data=form, timeout=5).json())


def test_a_device_waits_for_its_person(idp: LocalIdP, fake_clock: FakeClock) -> None:
    """It is told to wait, and to wait longer where it asks too soon; then it gets a token."""
    device = begin(idp)
    assert "authorization_pending" == poll(idp, device)["error"]
    assert "slow_down" == poll(idp, device)["error"]
    idp.approve(device["user_code"])
    fake_clock.advance(6.0)
    assert "orders" == poll(idp, device)["scope"]


def test_a_device_hears_no(idp: LocalIdP) -> None:
    """The person at the page refused."""
    device = begin(idp)
    idp.deny(device["user_code"])
    assert "access_denied" == poll(idp, device)["error"]


def test_a_device_code_expires(idp: LocalIdP, fake_clock: FakeClock) -> None:
    """After its lifetime nobody can answer it any more."""
    device = begin(idp)
    fake_clock.advance(device["expires_in"])
    assert "expired_token" == poll(idp, device)["error"]
    assert 404 == idp.approve(device["user_code"])


def test_a_person_types_what_the_device_shows(idp: LocalIdP) -> None:
    """The page has the code in its form, and shows that again where the password is wrong."""
    device = begin(idp)
    page = requests.get(device["verification_uri_complete"], timeout=5)
    assert (200, True) == (page.status_code, device["user_code"] in page.text)
    form = {"user_code": device["user_code"], "username": "alice", "password": "wrong"}
    again = requests.post(device["verification_uri"], data=form, timeout=5)
    assert (403, True) == (again.status_code, device["user_code"] in again.text)
    assert "authorization_pending" == poll(idp, device)["error"]


def test_a_device_code_is_good_for_whoever_asked(idp: LocalIdP) -> None:
    """Another client gets nothing for it (RFC 8628 section 3.4)."""
    idp.add_client("other", "secret")
    form = {"grant_type": DEVICE_CODE, "device_code": begin(idp)["device_code"]}
    answer = requests.post(idp.token_url, auth=("other", "secret"), data=form, timeout=5)
    assert "invalid_grant" == answer.json()["error"]
