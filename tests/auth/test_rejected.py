"""A rejected token: what is sent again, what the caller sees, and when nothing is sent again."""

import copy
import pickle
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
import requests
from requests.adapters import HTTPAdapter
from support.protected import UNLIMITED, Issuer, Reply, Resource, Seen, managed

from tokenkit.auth import BearerAuth
from tokenkit.contracts import Challenge, FetchContext
from tokenkit.fetchers.local import CallableTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token


@pytest.fixture
def session(manager: TokenManager, mint: Issuer) -> Iterator[requests.Session]:
    """A session whose first token has been revoked."""
    with requests.Session() as session:
        session.auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()
        yield session


def test_the_request_succeeds_with_another_token(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """The caller gets the second answer, and one renewal was made."""
    assert 200 == session.get(api.url).status_code
    assert (["Bearer token-1", "Bearer token-2"], 2) == (api.tokens, mint.given)


def test_copies_of_a_request_are_renewed_each(session: requests.Session, api: Resource) -> None:
    """They share their hooks with it, and the token of one is not that of all."""
    first = session.prepare_request(requests.Request("GET", api.url))
    second = first.copy()
    assert [200, 200] == [session.send(one).status_code for one in (first, second)]
    assert ["Bearer token-1", "Bearer token-2"] * 2 == api.tokens


def test_a_request_that_two_threads_send_is_renewed_for_both(
    session: requests.Session, api: Resource, mint: Issuer
) -> None:
    """The second one finds the token of the first in it, and the first may still be on its way with that."""
    request = session.prepare_request(requests.Request("GET", api.url))
    (hook,) = request.hooks["response"]
    rejected: list[requests.Response] = []
    answers: list[requests.Response] = []

    class Overtaken(HTTPAdapter):
        def send(self, *args: object, **options: object) -> requests.Response:
            if rejected:
                answers.append(hook(rejected.pop()))
            return super().send(*args, **options)  # type: ignore[arg-type]

    with closing(Overtaken()) as adapter:
        first = adapter.send(request)
        rejected = [adapter.send(request)]
        answers.append(hook(first))
        assert ([b"{}", b"{}"], 2) == ([answer.content for answer in answers], mint.given)
    assert 1 == len(request.hooks["response"])


def test_an_answer_pickles_although_its_source_cannot(api: Resource) -> None:
    """As every answer of requests does; what the token came from is no part of it."""
    api.behave = lambda seen: Reply()
    with TokenManager(CallableTokenFetcher(lambda: Token("made"), name="made")) as manager:
        response = requests.get(api.url, auth=BearerAuth(manager), timeout=10)
        with pytest.raises(TypeError):
            pickle.dumps(manager)
        assert 200 == pickle.loads(pickle.dumps(response)).status_code


def test_the_rejected_answer_is_in_the_history(session: requests.Session, api: Resource) -> None:
    """With its request as it was sent, and its body."""
    response = session.get(api.url)
    (rejected,) = response.history
    assert (401, "Bearer token-1") == (rejected.status_code, rejected.request.headers["Authorization"])
    assert {"error": "no"} == rejected.json()
    assert "Bearer token-2" == response.request.headers["Authorization"]


def test_the_answer_knows_how_long_it_took(session: requests.Session, api: Resource) -> None:
    """Elapsed of the final answer is that of the second request."""
    assert session.get(api.url).elapsed > timedelta(0)


def test_the_connection_is_used_again(session: requests.Session, api: Resource) -> None:
    """The rejected answer gives its connection back before the second request."""
    session.get(api.url)
    session.get(api.url)
    assert (3, 1) == (len(api.seen), api.connections)


def test_a_pool_of_one_connection_does_not_lock_up(session: requests.Session, api: Resource) -> None:
    """The second request needs the connection that the first one holds."""
    session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
    assert 200 == session.get(api.url, stream=True).status_code


def test_a_large_body_is_not_read(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """More than 64 KiB are not worth a connection; it is closed."""
    api.behave = lambda seen: Reply() if seen.token in mint.good else Reply(401, body=b"x" * 100_000)
    response = session.get(api.url)
    assert (200, b"", 2) == (response.status_code, response.history[0].content, api.connections)


def test_hooks_of_the_user_see_the_last_answer_only(session: requests.Session, api: Resource) -> None:
    """Those of the session and those of the request."""
    seen: list[int] = []
    session.hooks["response"].append(lambda response, **options: seen.append(response.status_code))
    session.get(api.url)
    session.get(api.url, hooks={"response": lambda response, **options: seen.append(-response.status_code)})
    assert [200, -200] == seen


def test_hooks_may_be_a_tuple(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """Requests calls whatever it can go through; none is lost when a token takes another's place."""
    seen: list[int] = []
    request = session.prepare_request(requests.Request("GET", api.url))
    request.hooks["response"] = (*request.hooks["response"], lambda response, **_: seen.append(response.status_code))
    for _ in range(2):
        session.send(request)
        mint.revoke()
    assert [200, 200] == seen


def test_the_second_request_is_sent_with_the_same_options(session: requests.Session, api: Resource) -> None:
    """stream, timeout, verify, cert and proxies are those of the first."""
    used: list[dict[str, object]] = []

    class Recording(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
            used.append(options)
            return super().send(request, **options)  # type: ignore[arg-type]

    session.mount("http://", Recording())
    session.get(api.url, stream=True, timeout=(3, 7), verify=False, proxies={"ftp": "http://proxy"})
    assert used[0] == used[1]
    assert ((3, 7), True, False) == (used[1]["timeout"], used[1]["stream"], used[1]["verify"])


def test_a_streamed_answer_is_left_unread(session: requests.Session, api: Resource) -> None:
    """With stream=True the body of the second answer is the caller's to read."""
    with session.get(api.url, stream=True) as response:
        assert b"{}" == response.raw.read()


def test_cookies_of_the_rejected_answer_are_kept(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """They go with the second request, and into the session; its own cookies stay."""
    session.cookies.set("own", "1")
    challenge = Reply(401, {"Set-Cookie": "visit=a; Path=/"})
    api.behave = lambda seen: Reply() if seen.token in mint.good else challenge
    session.get(api.url)
    assert {"own=1", "visit=a"} == set(api.seen[1].headers["cookie"].split("; "))
    assert {"own": "1", "visit": "a"} == session.cookies.get_dict()


def test_a_cookie_can_be_taken_back(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """A cookie that the rejected answer expires is not sent again."""
    session.cookies.set("own", "1", domain="127.0.0.1", path="/")
    expired = Reply(401, {"Set-Cookie": "own=; Path=/; Max-Age=0"})
    api.behave = lambda seen: Reply() if seen.token in mint.good else expired
    session.get(api.url)
    assert "cookie" not in api.seen[1].headers


def test_a_cookie_header_written_by_hand_stays(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """What the user wrote is not replaced by what the jar holds."""
    api.behave = lambda seen: Reply() if seen.token in mint.good else Reply(401, {"Set-Cookie": "visit=a"})
    session.get(api.url, headers={"Cookie": "mine=1"})
    assert ["mine=1", "mine=1"] == [seen.headers["cookie"] for seen in api.seen]


def test_a_cookie_header_taken_off_by_hand_stays_off(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """What the user did not want to send the first time is not sent the second time."""
    session.cookies.set("own", "1", domain="127.0.0.1", path="/")
    api.behave = lambda seen: Reply() if seen.token in mint.good else Reply(401)
    prepared = session.prepare_request(requests.Request("GET", api.url))
    del prepared.headers["Cookie"]
    session.send(prepared)
    assert [False, False] == ["cookie" in seen.headers for seen in api.seen]


def test_a_request_without_a_cookie_jar_is_sent_again(session: requests.Session, api: Resource) -> None:
    """One that was put together by hand may have none."""
    request = session.prepare_request(requests.Request("GET", api.url))
    request._cookies = None
    adapter = session.get_adapter(api.url)
    rejected = adapter.send(request)
    assert 200 == request.hooks["response"][0](rejected).status_code


def test_a_second_rejection_goes_round_again(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """max_refresh_attempts is 2: the third token is tried, and all answers are in the history."""
    api.behave = lambda seen: Reply(200 if seen.token == "Bearer token-3" else 401)
    response = session.get(api.url)
    assert (200, [401, 401]) == (response.status_code, [one.status_code for one in response.history])
    assert ["Bearer token-1", "Bearer token-2", "Bearer token-3"] == api.tokens


def test_attempts_end(session: requests.Session, api: Resource) -> None:
    """A resource that rejects every token is asked three times, and the caller gets its answer."""
    api.behave = lambda seen: Reply(401, body=b"never")
    response = session.get(api.url)
    assert (401, b"never", 3) == (response.status_code, response.content, len(api.seen))


@pytest.mark.parametrize(("attempts", "sent"), [(0, 1), (1, 2), (3, 4)])
def test_attempts_can_be_set(manager: TokenManager, api: Resource, attempts: int, sent: int) -> None:
    """0 never sends again."""
    api.behave = lambda seen: Reply(401)
    requests.get(api.url, auth=BearerAuth(manager, max_refresh_attempts=attempts), timeout=10)
    assert sent == len(api.seen)


def test_without_attempts_the_token_is_replaced_all_the_same(
    manager: TokenManager, mint: Issuer, api: Resource
) -> None:
    """The next request has another one."""
    auth = BearerAuth(manager, max_refresh_attempts=0)
    manager.get_token()
    mint.revoke()
    assert [401, 200] == [requests.get(api.url, auth=auth, timeout=10).status_code for _ in range(2)]


@pytest.mark.parametrize("status", [400, 403, 404, 407, 429, 500, 503])
def test_other_statuses_are_left_alone(session: requests.Session, api: Resource, status: int) -> None:
    """Only a refresh status says that a token is no good."""
    api.behave = lambda seen: Reply(status, {"WWW-Authenticate": "Bearer", "Proxy-Authenticate": "Bearer"})
    assert status == session.get(api.url).status_code
    assert 1 == len(api.seen)


def test_refresh_statuses_can_be_set(manager: TokenManager, mint: Issuer, api: Resource) -> None:
    """Servers that answer 403 for a bad token exist."""
    manager.get_token()
    mint.revoke()
    api.behave = lambda seen: Reply(200 if seen.token in mint.good else 403)
    auth = BearerAuth(manager, refresh_status_codes=[401, 403])
    assert 200 == requests.get(api.url, auth=auth, timeout=10).status_code


@pytest.mark.parametrize(
    ("challenge", "sent"),
    [
        ('Bearer error="insufficient_scope", scope="admin"', 1),
        ('Basic realm="a, b", Bearer realm="c", error="insufficient_scope"', 1),
        ('Basic realm="insufficient_scope"', 3),
        ("", 3),
    ],
)
def test_a_lack_of_scope_is_not_retried(session: requests.Session, api: Resource, challenge: str, sent: int) -> None:
    """Another token of the same kind would not help (RFC 6750 section 3.1), whichever challenge says it."""
    api.behave = lambda seen: Reply(401, {"WWW-Authenticate": challenge} if challenge else {})
    assert 401 == session.get(api.url).status_code
    assert sent == len(api.seen)


def test_several_challenge_headers_are_one_list(session: requests.Session, api: Resource) -> None:
    """The refusal is found in the second of two header lines too."""
    lines = 'Basic realm="x"\nBearer error="insufficient_scope"'
    api.behave = lambda seen: Reply(401, {"WWW-Authenticate": lines})
    session.get(api.url)
    assert 1 == len(api.seen)


def test_the_same_token_again_is_not_sent_again(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """A source that returns the rejected token gets the caller the 401 at once."""
    mint.stuck = True
    assert 401 == session.get(api.url).status_code
    assert ["Bearer token-1"] == api.tokens


def test_a_renewal_that_fails_gives_the_401(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """As it came, unread, and not the renewal's error."""
    mint.failing = True
    response = session.get(api.url, stream=True)
    assert (401, b'{"error": "no"}') == (response.status_code, response.raw.read())
    assert [] == response.history


def test_a_second_request_that_gets_no_answer_is_an_error(session: requests.Session, api: Resource) -> None:
    """A connection that fails on the way is what requests calls it."""

    def refuse(seen: Seen) -> Reply:
        if len(api.seen) > 1:
            raise ConnectionAbortedError
        return Reply(401)

    api.behave = refuse
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(api.url)


def test_a_request_that_got_no_answer_can_be_sent_again(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """It is as any other that was authorised: a rejection costs a renewal, and no more."""
    replies = iter([Reply(401), None, Reply(401), Reply()])

    def behave(seen: Seen) -> Reply:
        reply = next(replies)
        if reply is None:
            raise ConnectionAbortedError
        return reply

    api.behave = behave
    request = session.prepare_request(requests.Request("GET", api.url))
    with pytest.raises(requests.exceptions.ConnectionError):
        session.send(request)
    assert 200 == session.send(request).status_code
    assert [1, 2, 2, 3] == [int(str(token)[-1]) for token in api.tokens]


@pytest.mark.parametrize("outer", ["user", "gateway"])
@pytest.mark.parametrize("revoked", ["user", "gateway"])
def test_each_of_two_tokens_is_renewed(
    mint: Issuer, manager: TokenManager, api: Resource, outer: str, revoked: str
) -> None:
    """One request may carry both, in headers of their own, and its answer pickles and copies as any other."""
    other = Issuer()
    api.behave = lambda seen: api.protect(seen) if seen.headers["x-gateway"] in other.good else Reply(401)
    with managed(other) as gateway:
        auths = [BearerAuth(manager), BearerAuth(gateway, header="X-Gateway")]
        if outer == "user":
            auths.reverse()
        manager.get_token(), gateway.get_token()
        (mint if revoked == "user" else other).revoke()
        response = requests.get(api.url, auth=lambda request: auths[1](auths[0](request)), timeout=10)
    for one in (response, pickle.loads(pickle.dumps(response)), copy.deepcopy(response)):
        assert 200 == one.status_code


def test_a_token_of_another_kind_is_left_alone(manager: TokenManager, api: Resource, mint: Issuer) -> None:
    """A header that was changed after authorising is not ours: its 401 costs no renewal."""
    api.behave = lambda seen: Reply(401)
    with requests.Session() as session:
        request = session.prepare_request(requests.Request("GET", api.url, auth=BearerAuth(manager)))
        request.headers["Authorization"] = "Basic abc"
        assert 401 == session.send(request).status_code
    assert (1, 1) == (len(api.seen), mint.given)


def test_a_request_without_a_token_is_left_alone(manager: TokenManager, api: Resource, mint: Issuer) -> None:
    """The 401 of an origin that gets no token costs no renewal."""
    api.behave = lambda seen: Reply(401)
    requests.get(api.elsewhere, auth=BearerAuth(manager, origins=[api.url]), timeout=10)
    assert (1, 0) == (len(api.seen), mint.given)


def test_another_header_is_renewed_too(manager: TokenManager, mint: Issuer, api: Resource) -> None:
    """Whatever it is called, the header is replaced on the second request."""
    api.behave = lambda seen: Reply(200 if seen.headers.get("x-token") in mint.good else 401)
    manager.get_token()
    mint.revoke()
    response = requests.get(api.url, auth=BearerAuth(manager, header="X-Token"), timeout=10)
    assert (200, [None, None]) == (response.status_code, api.tokens)


def test_head_is_sent_again(session: requests.Session, api: Resource) -> None:
    """An answer without a body, whatever length it announces."""
    assert 200 == session.head(api.url).status_code
    assert (["HEAD", "HEAD"], 1) == ([seen.method for seen in api.seen], api.connections)


def test_a_prepared_request_can_be_sent_often(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """It goes on with the token that took the first one's place, and heals again when that is revoked."""
    request = session.prepare_request(requests.Request("GET", api.url))
    for _ in range(3):
        assert 200 == session.send(request).status_code
        mint.revoke()
    assert [1, 2, 2, 3, 3, 4] == [int(token.rpartition("-")[2]) for token in api.tokens if token]


def test_a_request_that_was_authorised_twice_is_sent_again_once(session: requests.Session, api: Resource) -> None:
    """Two hooks on one request do not answer one rejection twice."""
    auth = session.auth
    request = session.prepare_request(requests.Request("GET", api.url))
    assert isinstance(auth, BearerAuth)
    assert 200 == session.send(auth(request)).status_code
    assert 2 == len(api.seen)


def test_an_adapter_that_leaves_no_connection_gives_the_401(manager: TokenManager, api: Resource) -> None:
    """Some adapters make responses that cannot tell who sent them."""

    class Anonymous(HTTPAdapter):
        def send(self, *args: object, **options: object) -> requests.Response:
            response = super().send(*args, **options)  # type: ignore[arg-type]
            del response.connection
            return response

    api.behave = lambda seen: Reply(401)
    with requests.Session() as session:
        session.mount("http://", Anonymous())
        assert 401 == session.get(api.url, auth=BearerAuth(manager)).status_code


def test_a_token_rejected_too_young_is_not_replaced(mint: Issuer, api: Resource) -> None:
    """Right after a renewal that a rejection caused, another one costs none: the caller gets the 401."""
    api.behave = lambda seen: Reply(401)
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager:
        auth = BearerAuth(manager)
        assert [401] * 5 == [requests.get(api.url, auth=auth, timeout=10).status_code for _ in range(5)]
    assert 2 == mint.given


def test_a_token_that_the_resource_took_before_was_revoked(mint: Issuer, api: Resource) -> None:
    """While another resource rejects every token, the first one's revocations are still made good."""
    bad = Reply(401)
    api.behave = lambda seen: bad if seen.path == "/bad" else api.protect(seen)
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager:
        auth = BearerAuth(manager)
        for number in range(3):
            requests.get(f"{api.url}/bad", auth=auth, timeout=10)
            assert manager._engine.state.limit.is_throttling
            assert 200 == requests.get(f"{api.url}/good?page={number}", auth=auth, timeout=10).status_code
            mint.revoke()
            assert 200 == requests.get(f"{api.url}/good", auth=auth, timeout=10).status_code
        assert 401 == requests.get(f"{api.url}/bad", auth=auth, timeout=10).status_code


def test_a_renewed_token_that_another_request_took_is_replaced_at_once(mint: Issuer, api: Resource) -> None:
    """Whichever request it was that showed the resource to take it."""
    api.behave = lambda seen: Reply(401) if seen.path == "/bad" else api.protect(seen)
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager:
        auth = BearerAuth(manager)
        requests.get(f"{api.url}/bad", auth=auth, timeout=10)
        assert 200 == requests.get(f"{api.url}/good", auth=auth, timeout=10).status_code
        mint.revoke()
        assert 200 == requests.get(f"{api.url}/good", auth=auth, timeout=10).status_code


def test_a_renewed_token_that_was_taken_and_revoked_at_once_is_replaced(mint: Issuer, api: Resource) -> None:
    """The resource took it when the request was sent again, so its rejection a moment later is believed."""
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        for _ in range(4):
            mint.revoke()
            assert 200 == requests.get(f"{api.url}/good", auth=auth, timeout=10).status_code
    assert 5 == mint.given


def test_a_resource_that_took_a_token_is_believed_once(mint: Issuer, api: Resource) -> None:
    """It may reject one it has never seen, revoked before its first use; rejecting all from then on costs no more."""
    refusing = False
    api.behave = lambda seen: Reply(401) if refusing or seen.path == "/bad" else Reply()
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager:
        auth = BearerAuth(manager)
        requests.get(f"{api.url}/bad", auth=auth, timeout=10)
        requests.get(f"{api.url}/good", auth=auth, timeout=10)
        refusing = True
        for _ in range(5):
            requests.get(f"{api.url}/good", auth=auth, timeout=10)
    assert 4 == mint.given  # two for the first, then one for the token that was taken and one for the next


def test_what_resources_took_is_kept_in_bounds(mint: Issuer, api: Resource) -> None:
    """A storm over ever new URLs does not fill the memory."""

    class Taking(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, str(request.url)
            return response

    api.behave = lambda seen: Reply(401)
    with managed(mint, RefreshPolicy(min_renewal_interval=30)) as manager, requests.Session() as session:
        session.auth = auth = BearerAuth(manager)
        session.get(f"{api.url}/bad")
        session.mount("https://", Taking())
        for number in range(1100):
            session.get(f"https://api.example.com/{number}")
    assert 0 < len(auth._authoriser._accepted) <= 1024


def test_the_policy_of_these_tests_has_no_interval() -> None:
    """The other tests here reject young tokens at will."""
    assert 0 == UNLIMITED.min_renewal_interval


def test_the_challenge_reaches_the_source(api: Resource) -> None:
    """The fetch that replaces a rejected token is told what the resource said, and no fetch after that."""
    told: list[Challenge | None] = []

    def fetch(context: FetchContext) -> Token:
        told.append(context.challenge)
        return Token(f"token-{len(told)}")

    wants = {"WWW-Authenticate": 'Bearer error="insufficient_claims", claims="e30="'}
    api.behave = lambda seen: Reply(401, wants) if seen.token == "Bearer token-1" else Reply()
    with TokenManager(CallableTokenFetcher(fetch)) as manager:
        assert 200 == requests.get(api.url, auth=BearerAuth(manager)).status_code
        manager.force_refresh()
    assert [None, Challenge(error="insufficient_claims", claims="e30="), None] == told


def test_who_joined_and_is_still_refused_asks_with_its_own(api: Resource) -> None:
    """Another resource was first, and the token that it wanted will not do here; one renewal more, and it does."""
    given: list[str] = []

    def fetch(context: FetchContext) -> Token:
        given.append((context.challenge and context.challenge.claims) or "nothing")
        return Token(f"with-{given[-1]}")

    def behave(seen: Seen) -> Reply:
        if seen.token == "Bearer with-nothing":
            other = Challenge(error="insufficient_claims", claims="others")
            manager.renew_rejected(Token("with-nothing"), challenge=other)
        wants = {"WWW-Authenticate": 'Bearer error="insufficient_claims", claims="mine"'}
        return Reply() if seen.token == "Bearer with-mine" else Reply(401, wants)

    api.behave = behave
    with TokenManager(CallableTokenFetcher(fetch)) as manager:
        assert 200 == requests.get(api.url, auth=BearerAuth(manager)).status_code
    assert ["nothing", "others", "mine"] == given
