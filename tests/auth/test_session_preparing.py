"""AuthorizedSession waits for a token when it sends a request, not when it prepares one."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support.protected import Issuer, Reply, Resource, managed
from support.scripted import Harness, down

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.errors import AuthenticationError, ConfigurationError, RenewalTimeoutError
from tokenkit.fetchers.local import CallableTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token


def make_token() -> Token:
    return Token("made")


@pytest.fixture
def session(manager: TokenManager) -> Iterator[AuthorizedSession]:
    with AuthorizedSession(manager) as session:
        yield session


def prepared_by(session: AuthorizedSession, url: str, **options: object) -> requests.PreparedRequest:
    return session.prepare_request(requests.Request("GET", url, **options))  # type: ignore[arg-type]


def test_a_token_at_hand_is_put_on_at_once(session: AuthorizedSession, api: Resource, manager: TokenManager) -> None:
    """A prepared request has it, as of any session that has an auth."""
    token = manager.get_token()
    assert token.authorization == prepared_by(session, api.url).headers["Authorization"]


def test_preparing_calls_for_no_token(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """Sending does, and what answers a 401 is there then."""
    prepared = prepared_by(session, api.url)
    assert 0 == mint.given
    api.behave = lambda seen: Reply(401) if seen.token == "Bearer token-1" else Reply()
    assert 200 == session.send(prepared).status_code
    assert ["Bearer token-1", "Bearer token-2"] == api.tokens


def test_preparing_starts_no_renewal(make_harness: Callable[..., Harness], api: Resource) -> None:
    """Not of an expired token either: what a cache answers needs no other. Sending does."""
    harness = make_harness(background=False, lifetime=100.0)
    harness.manager.get_token()
    harness.clock.advance(100)
    api.behave = lambda seen: Reply()
    with AuthorizedSession(harness.manager) as session:
        prepared = prepared_by(session, api.url)
        assert 1 == harness.source.fetches
        session.send(prepared)
    assert (["Bearer token-2"], 2) == (api.tokens, harness.source.fetches)


def test_what_could_not_be_sent_can_be_sent_later(make_harness: Callable[..., Harness], api: Resource) -> None:
    """The error has the request, which nothing was put on."""
    harness = make_harness(background=False)
    harness.source.then(down())
    api.behave = lambda seen: Reply()
    with AuthorizedSession(harness.manager) as session:
        prepared = prepared_by(session, api.url)
        with pytest.raises(AuthenticationError) as caught:
            session.send(prepared)
        assert prepared is caught.value.request
        harness.clock.advance(60)
        session.send(prepared)
    assert ["Bearer token-2"] == api.tokens


def test_a_request_that_two_threads_send_waits_in_both(mint: Issuer, api: Resource) -> None:
    """Nobody sends it half authorised while another one waits for the token."""
    asked, release, fetch = threading.Event(), threading.Event(), mint.fetch_token
    mint.fetch_token = lambda context=None: asked.set() or (release.wait(20) and fetch())  # type: ignore[method-assign]
    with managed(mint) as manager, AuthorizedSession(manager, refresh_timeout=0.5) as session:
        prepared = prepared_by(session, api.url)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(session.send, prepared)
            assert asked.wait(10)
            with pytest.raises(RenewalTimeoutError):
                session.send(prepared)
            assert isinstance(first.exception(), RenewalTimeoutError)
        release.set()
        manager.get_token()
        assert 200 == session.send(prepared).status_code
    assert ["Bearer token-1"] == api.tokens


def test_what_was_sent_is_authorised_once(session: AuthorizedSession, api: Resource) -> None:
    """A request may be sent twice, and its hooks do not grow."""
    prepared = prepared_by(session, api.url)
    session.send(prepared)
    hooks = [*prepared.hooks["response"]]
    session.send(prepared)
    assert (["Bearer token-1"] * 2, hooks) == (api.tokens, prepared.hooks["response"])


def test_a_copy_waits_for_a_token_too(session: AuthorizedSession, api: Resource) -> None:
    """Requests sends copies where it follows a redirect, and users where they send in turns."""
    prepared = prepared_by(session, api.url)
    for each in (prepared.copy(), copy.copy(prepared), prepared):
        session.send(each)
    assert (["Bearer token-1"] * 3, 1) == (api.tokens, len(prepared.hooks["response"]))


def test_a_deep_copy_has_the_same_manager(api: Resource) -> None:
    """As a request with a token has; even of one that cannot be copied."""
    lock = threading.Lock()
    api.behave = lambda seen: Reply()
    with (
        TokenManager(CallableTokenFetcher(lambda: lock and Token("made"), name="made")) as manager,
        AuthorizedSession(manager) as session,
    ):
        prepared = prepared_by(session, api.url)
        session.send(copy.deepcopy(prepared))
        assert "made" == manager.current.access_token  # type: ignore[union-attr]
        copy.deepcopy(session.send(prepared).request)
    assert ["Bearer made"] * 2 == api.tokens


def test_hooks_of_the_user_see_the_last_answer_only(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """Although the token came late, its hook is the first."""
    seen: list[int] = []
    prepared = prepared_by(session, api.url, hooks={"response": lambda answer, **_: seen.append(answer.status_code)})
    api.behave = lambda one: Reply(401) if one.token == "Bearer token-1" else Reply()
    session.send(prepared)
    assert [200] == seen


def test_a_credential_put_on_meanwhile_stays(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """Requests shows how to change a prepared request before it is sent."""
    prepared = prepared_by(session, api.url)
    prepared.headers["Authorization"] = "Bearer mine"
    api.behave = lambda seen: Reply(401)
    assert 401 == session.send(prepared).status_code
    assert (["Bearer mine"], 0) == (api.tokens, mint.given)


def test_a_request_that_was_turned_elsewhere_gets_no_token(
    session: AuthorizedSession, api: Resource, mint: Issuer
) -> None:
    """Neither that nor what stood in for it; only a redirect to a listed origin would keep it."""
    prepared = prepared_by(session, api.url)
    prepared.url = f"{api.elsewhere}/"
    session.send(prepared)
    assert ([None], 0) == (api.tokens, mint.given)


@pytest.mark.parametrize("hooks", [None, {}, {"response": None}, {"response": lambda answer, **_: None}])
def test_a_request_made_by_hand_is_sent_as_it_is(session: AuthorizedSession, api: Resource, hooks: object) -> None:
    """Whatever form of hooks requests takes: this session did not prepare it, so it gets no token."""
    prepared = requests.Request("GET", api.url).prepare()
    prepared.hooks = hooks  # type: ignore[assignment]
    assert 401 == session.send(prepared).status_code
    assert [None] == api.tokens


def test_a_redirect_is_followed_as_ever(session: AuthorizedSession, api: Resource) -> None:
    """The token came when the first request was sent, and goes no further than its origin."""
    targets = {"/a": "/b", "/b": f"{api.elsewhere}/c"}
    api.behave = lambda seen: Reply(302, {"Location": targets[seen.path]}) if seen.path in targets else Reply()
    session.get(f"{api.url}/a")
    assert ["Bearer token-1", "Bearer token-1", None] == api.tokens


def test_other_origins_get_no_stand_in(manager: TokenManager, api: Resource, mint: Issuer) -> None:
    """A request that gets no token is prepared as one that needs none."""
    with AuthorizedSession(manager, origins=[api.url]) as session:
        prepared = prepared_by(session, api.elsewhere)
        assert "Authorization" not in prepared.headers
        session.send(prepared)
    assert ([None], 0) == (api.tokens, mint.given)


def test_an_insecure_url_is_refused_before_it_is_sent(session: AuthorizedSession) -> None:
    """While it is prepared, with or without a token at hand."""
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="where others can read it") as caught:
            prepared_by(session, "http://api.example.com/")
        assert "http://api.example.com/" == caught.value.request.url
        session.auth.manager.get_token()


def test_another_session_sends_no_token(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """It knows nothing of it. The API refuses what stands in for one, rather than to serve an anonymous request."""
    mint.good = {None}  # type: ignore[arg-type]
    with requests.Session() as plain:
        assert 401 == plain.send(prepared_by(session, api.url)).status_code
    assert str(api.tokens[0]).startswith("Bearer pending-")
    assert 0 == mint.given


def test_what_stands_in_differs_from_manager_to_manager(manager: TokenManager, api: Resource) -> None:
    """Whoever tells users apart by their credential, as caches may, tells them apart without one."""
    values = set()
    with managed(Issuer()) as other:
        for auth in (BearerAuth(manager), BearerAuth(other)):
            with AuthorizedSession(manager) as session:
                values.add(prepared_by(session, api.url, auth=auth).headers["Authorization"])
    assert 2 == len(values)


@pytest.mark.parametrize("url", ["https://[fe80::1%25eth0]/", "https://api.example.com/"])
def test_a_url_is_good_with_a_token_at_hand_or_without(session: AuthorizedSession, url: str) -> None:
    """The same rule says so."""
    assert prepared_by(session, url).headers["Authorization"].startswith("Bearer pending-")
    session.auth.manager.get_token()
    assert "Bearer token-1" == prepared_by(session, url).headers["Authorization"]


def test_the_request_stays_as_it_was(manager: TokenManager, api: Resource) -> None:
    """The same Request may be prepared by other sessions."""
    request = requests.Request("GET", "users")
    with AuthorizedSession(manager, base_url=f"{api.url}/v1/") as session:
        session.prepare_request(request)
    assert ("users", None, {"response": []}) == (request.url, request.auth, request.hooks)


def test_the_auth_of_one_request_is_waited_for_too(session: AuthorizedSession, api: Resource) -> None:
    """With a header of its own."""
    other = Issuer()
    with managed(other) as manager:
        prepared = prepared_by(session, api.url, auth=BearerAuth(manager, header="X-Token"))
        assert 0 == other.given
        session.send(prepared)
    assert ("Bearer token-1", None) == (api.seen[0].headers["x-token"], api.tokens[0])


def test_it_pickles_as_configuration(api: Resource) -> None:
    """A request that waits for a token holds none; it gets one where it is sent."""
    api.behave = lambda seen: Reply()
    with (
        TokenManager(CallableTokenFetcher(make_token, name="made")) as manager,
        AuthorizedSession(manager) as session,
    ):
        other = pickle.loads(pickle.dumps(prepared_by(session, api.url)))
        session.send(other)
    assert ["Bearer made"] == api.tokens
