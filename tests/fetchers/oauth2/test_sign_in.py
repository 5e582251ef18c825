"""People sign in: at a device, and by a browser that comes back."""

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.scripted import PATIENCE, ask

from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedResponseError,
    SignInRequiredError,
    TokenEndpointError,
)
from tokenkit.fetchers.oauth2 import BrowserSignIn, DeviceSignIn, SignedInFetcher, SignInPrompt
from tokenkit.testing import FakeClock, LocalIdP
from tokenkit.tokens import Token


@pytest.fixture
def idp(fake_clock: FakeClock) -> Iterator[LocalIdP]:
    with LocalIdP(clock=fake_clock) as idp:
        idp.add_client("app")
        yield idp


@pytest.fixture
def device(idp: LocalIdP) -> DeviceSignIn:
    return DeviceSignIn(issuer=idp.issuer, client_id="app", scope="orders", retries=0)


@pytest.fixture
def browser(idp: LocalIdP) -> BrowserSignIn:
    return BrowserSignIn(issuer=idp.issuer, client_id="app", scope="orders", retries=0)


def at_device(flow: DeviceSignIn, clock: FakeClock, show: Callable[[SignInPrompt], object]) -> "Future[Token]":
    """The flow in a thread of its own, after it has shown its code and begun to wait."""
    (future,) = ask(lambda: flow.sign_in(show, 300.0, clock=clock))
    clock.wait_until_parked(1)
    return future


def pass_time(clock: FakeClock, future: "Future[Any]", seconds: float) -> None:
    """Let *seconds* pass, a second at a time, until the flow has ended."""
    for _ in range(int(seconds)):
        for _ in range(100):
            if future.done():
                return
            with suppress(AssertionError):  # it ends meanwhile, or goes on to its next pause
                clock.wait_until_parked(1, timeout=0.05)
                break
        clock.advance(1.0)


def test_a_person_signs_in_at_a_device(idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock) -> None:
    """The flow shows a page and a code, asks at the server's pace, and returns the token with its refresh token."""
    seen: list[SignInPrompt] = []
    future = at_device(device, fake_clock, seen.append)
    fake_clock.advance(1.0)
    fake_clock.wait_until_parked(1)
    assert f"{idp.url}/activate" == seen[0].url
    idp.approve(str(seen[0].code))
    pass_time(fake_clock, future, 3)
    token = future.result(PATIENCE)
    assert token.refresh_token
    assert "orders" == token.scope
    assert 2 == idp.count("token:device_code")


def test_a_device_slows_down_where_it_is_told_to(idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock) -> None:
    """After slow_down the pause is five seconds longer (RFC 8628 section 3.5)."""
    idp.fail("token:device_code", status=400, body={"error": "slow_down"})
    future = at_device(device, fake_clock, lambda prompt: idp.approve(str(prompt.code)))
    pass_time(fake_clock, future, 6)
    assert 1 == idp.count("token:device_code")
    pass_time(fake_clock, future, 2)
    assert future.result(PATIENCE)


def test_a_device_asks_on_after_what_passes(idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock) -> None:
    """A server that is down for a moment costs a pause, not the sign-in."""
    idp.fail("token:device_code", status=503)
    future = at_device(device, fake_clock, lambda prompt: idp.approve(str(prompt.code)))
    pass_time(fake_clock, future, 4)
    assert future.result(PATIENCE)


def test_a_person_at_a_device_says_no(idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock) -> None:
    """The flow ends at once."""
    future = at_device(device, fake_clock, lambda prompt: idp.deny(str(prompt.code)))
    pass_time(fake_clock, future, 2)
    with pytest.raises(SignInRequiredError, match="access_denied"):
        future.result(PATIENCE)


def test_a_person_never_comes_to_a_device(idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock) -> None:
    """The flow ends with the code, where the time allowed is longer."""
    idp.device_lifetime = 3.0
    future = at_device(device, fake_clock, lambda _: None)
    pass_time(fake_clock, future, 4)
    with pytest.raises(SignInRequiredError, match="nobody signed in"):
        future.result(PATIENCE)


def test_a_device_that_is_refused_says_why(idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A client that the server does not know is an error of the endpoint."""
    flow = DeviceSignIn(issuer=idp.issuer, client_id="nobody", retries=0)
    with pytest.raises(TokenEndpointError, match="invalid_client"):
        flow.sign_in(lambda _: None, clock=fake_clock)


@pytest.mark.parametrize(
    "body",
    [{}, {"device_code": "d", "user_code": "u"}, {"device_code": "d", "user_code": "u", "expires_in": 9}],
    ids=["empty", "no lifetime", "no page"],
)
def test_an_answer_that_begins_nothing_is_malformed(
    idp: LocalIdP, device: DeviceSignIn, fake_clock: FakeClock, body: dict[str, Any]
) -> None:
    """Nothing is shown to anybody."""
    idp.fail("device_authorization", status=200, body=body)
    with pytest.raises(MalformedResponseError):
        device.sign_in(lambda _: pytest.fail("a person was asked"), clock=fake_clock)


def test_a_person_signs_in_by_browser(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """The page is the server's, the last one the program's; the token has a refresh token."""
    statuses: list[int] = []
    token = browser.sign_in(lambda prompt: statuses.append(idp.approve(prompt.url)))
    assert [200] == statuses
    assert token.refresh_token


def test_the_url_shows_no_more_than_it_must(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """It has the challenge, not the verifier; with a pushed request it has neither."""
    idp.takes_pushed_requests = True
    shown: list[str] = []
    browser.sign_in(lambda prompt: (shown.append(prompt.url), idp.approve(prompt.url)))
    assert {"client_id", "request_uri"} == set(parse_qs(urlsplit(shown[0]).query))
    assert 1 == idp.count("par")


def test_a_pushed_request_that_gets_no_name_shows_nobody_a_page(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """The server's answer is malformed (RFC 9126 section 2.2)."""
    idp.takes_pushed_requests = True
    idp.fail("par", status=201, body={"expires_in": 60})
    with pytest.raises(MalformedResponseError, match="has no request_uri"):
        browser.sign_in(lambda _: pytest.fail("a person was asked"))


def test_an_answer_without_a_code_is_malformed(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """There is nothing to send to the token endpoint."""
    with pytest.raises(MalformedResponseError, match="has no code"):
        browser.sign_in(lambda prompt: comes_back(prompt, code="", iss=idp.issuer))
    assert 0 == idp.count("token")


def test_endpoints_may_be_given(idp: LocalIdP) -> None:
    """Without an issuer no metadata are read."""
    flow = BrowserSignIn(authorization_url=idp.authorization_url, token_url=idp.token_url, client_id="app")
    assert flow.sign_in(lambda prompt: idp.approve(prompt.url)).refresh_token
    assert 0 == idp.count("metadata")


def test_a_person_says_no_by_browser(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """The program is told."""
    with pytest.raises(SignInRequiredError, match="access_denied"):
        browser.sign_in(lambda prompt: idp.deny(prompt.url))


def comes_back(prompt: SignInPrompt, **fields: str) -> int:
    """A browser that comes back with *fields*, and the right state unless one is given."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(prompt.url).query).items()}
    answer = {"state": asked["state"], "code": "c", **fields}
    return requests.get(asked["redirect_uri"], params=answer, timeout=5).status_code


@pytest.mark.parametrize("issuer", ["https://other.example", ""])
def test_another_issuers_answer_is_refused(browser: BrowserSignIn, issuer: str) -> None:
    """Its code is sent to nobody (RFC 9207: mix-up)."""
    with pytest.raises(MalformedResponseError, match="issuer"):
        browser.sign_in(lambda prompt: comes_back(prompt, iss=issuer))


def test_an_issuer_that_names_itself_must_do_so(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """Where the metadata promise an ``iss``, an answer without one is nobody's."""
    with pytest.raises(MalformedResponseError, match="issuer"):
        browser.sign_in(comes_back)
    assert 0 == idp.count("token")


def test_another_state_is_not_the_answer(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """What somebody else sends to the port changes nothing: the person's own answer counts."""

    def show(prompt: SignInPrompt) -> None:
        assert 400 == comes_back(prompt, state="forged", iss=idp.issuer)
        assert 200 == idp.approve(prompt.url)

    assert browser.sign_in(show).refresh_token


def test_nobody_comes_back(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """The flow ends in time, and the port is free again."""
    ports: list[int] = []

    def show(prompt: SignInPrompt) -> None:
        redirect = parse_qs(urlsplit(prompt.url).query)["redirect_uri"][0]
        ports.append(int(urlsplit(redirect).port or 0))

    with pytest.raises(SignInRequiredError, match="nobody signed in"):
        browser.sign_in(show, 0.2)
    assert [] == [one for one in threading.enumerate() if one.name == "tokenkit-sign-in"]
    socket.create_server(("127.0.0.1", ports[0])).close()


def test_ctrl_c_leaves_nothing_behind(browser: BrowserSignIn) -> None:
    """It goes on to the caller; no thread listens any more."""

    def show(_: SignInPrompt) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        browser.sign_in(show)
    assert [] == [one for one in threading.enumerate() if one.name == "tokenkit-sign-in"]


def test_no_error_shows_what_came_back(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """Neither the code nor the verifier is in the error, its chain or the variables of its frames."""
    with pytest.raises(AuthenticationError) as caught:
        browser.sign_in(lambda prompt: comes_back(prompt, code="canary-code", iss=idp.issuer))
    ours = [frame for frame in traceback.extract_tb(caught.tb) if frame.filename != __file__]
    chain = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [chain.format_exception_only(), *([frame.locals for frame in chain.stack[-len(ours) :]])]
    assert "canary-code" not in repr(shown)
    assert chain.__context__ is None


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (BrowserSignIn, {"redirect_port": 65536}),
        (BrowserSignIn, {"redirect_port": "80"}),
        (BrowserSignIn, {"account": None}),
        (DeviceSignIn, {"token_url": None, "issuer": None}),
        (DeviceSignIn, {"client_id": None}),
    ],
)
def test_wrong_arguments_are_told(kind: Any, wrong: dict[str, Any]) -> None:
    """Before any network."""
    with pytest.raises(ConfigurationError):
        kind(**{"issuer": "https://idp.example.com", "client_id": "app", **wrong})


def test_a_fetcher_never_prompts(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """Without a grant it says what to call, and asks the server nothing."""
    with pytest.raises(SignInRequiredError, match=r"manager\.sign_in\(\)"):
        SignedInFetcher(browser).fetch()
    assert {} == dict(idp.counts)


def test_a_fetcher_spends_what_the_person_gave(idp: LocalIdP, browser: BrowserSignIn) -> None:
    """Each refresh token once."""
    token = browser.sign_in(lambda prompt: idp.approve(prompt.url))
    fetcher = SignedInFetcher(browser)
    again = fetcher.refresh(fetcher.refresh(token))
    assert again.refresh_token not in (None, token.refresh_token)
    assert 0 == idp.reuse_detected


def test_accounts_lie_side_by_side() -> None:
    """Two people's tokens never meet."""
    kind = {"issuer": "https://idp.example.com", "client_id": "app"}
    keys = {SignedInFetcher(DeviceSignIn(**kind, account=account)).cache_key for account in ("", "alice", "bob")}
    assert 3 == len(keys)


def test_a_fetcher_wants_a_flow() -> None:
    """What prompts nobody is refused at once, by its class."""
    with pytest.raises(ConfigurationError, match="must be a DeviceSignIn or a BrowserSignIn, not str"):
        SignedInFetcher("app")  # type: ignore[arg-type]  # wrong
