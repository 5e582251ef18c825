"""BearerAuth on a request that is not rejected, and as an object."""

import copy
import pickle
import threading

import pytest
import requests
from requests.exceptions import RequestException, Timeout
from support.copyable import CANARY
from support.protected import Issuer, Reply, Resource, managed

from tokenkit.auth import BearerAuth
from tokenkit.errors import AuthenticationError, ConfigurationError, RenewalStoppedError, RenewalTimeoutError
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.fetchers.local import StaticTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.tokens import Token

URL = "https://api.example.com/v1"


def prepare(auth: BearerAuth, url: str = URL, **headers: str) -> requests.PreparedRequest:
    return requests.Request("GET", url, headers=headers, auth=auth).prepare()


def test_a_request_carries_the_token(manager: TokenManager, api: Resource) -> None:
    """session.auth is all there is to do."""
    session = requests.Session()
    session.auth = BearerAuth(manager)
    assert 200 == session.get(f"{api.url}/x").status_code
    assert ["Bearer token-1"] == api.tokens


def test_auth_of_one_request(manager: TokenManager, api: Resource) -> None:
    """It works as auth= of one request too, without a session."""
    assert 200 == requests.get(api.url, auth=BearerAuth(manager), timeout=10).status_code


def test_the_header_reads_as_requests_set_it(manager: TokenManager) -> None:
    """However it is set, the header is found under any case, once, and under the name given."""
    request = prepare(BearerAuth(manager, header="X-API-Token"))
    assert "Bearer token-1" == request.headers["x-api-token"]
    assert ["X-API-Token"] == [name for name in request.headers if name.lower() == "x-api-token"]


def test_a_header_that_is_there_is_replaced(manager: TokenManager) -> None:
    """auth= is explicit, and wins over a header, as requests' own auth does."""
    request = prepare(BearerAuth(manager), authorization="Basic abc")
    assert [("Authorization", "Bearer token-1")] == [pair for pair in request.headers.items() if "uth" in pair[0]]


def test_headers_of_another_kind_are_set_too(manager: TokenManager) -> None:
    """A request whose headers a user replaced by a plain dictionary is authorised as well."""
    request = requests.Request("GET", URL).prepare()
    request.headers = {}  # type: ignore[assignment]
    BearerAuth(manager)(request)
    assert {"Authorization": "Bearer token-1"} == request.headers


def test_the_body_and_its_length_are_left_alone(manager: TokenManager) -> None:
    """Authorising adds neither a Content-Length nor a Transfer-Encoding."""
    plain = requests.Request("POST", URL, data=iter([b"a"])).prepare()
    ours = requests.Request("POST", URL, data=iter([b"a"]), auth=BearerAuth(manager)).prepare()
    assert {*plain.headers, "Authorization"} == set(ours.headers)


def test_its_hook_runs_before_those_of_the_user(manager: TokenManager) -> None:
    """Even where the request had hooks before it was authorised."""
    request = requests.Request("GET", URL, hooks={"response": print}).prepare()
    BearerAuth(manager)(request)
    assert [False, True] == [hook is print for hook in request.hooks["response"]]


def test_a_listener_hears_of_each_use(mint: Issuer) -> None:
    """Where one listens for hits, requests tell of theirs like any caller."""
    heard: list[object] = []

    class Listener(TokenListener):
        def cache_hit(self, event: TokenEvent) -> None:
            heard.append(event)

    with TokenManager(mint, listeners=[Listener()]) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        for _ in range(3):
            prepare(auth)
    assert 3 == len(heard)


def test_one_object_serves_many_sessions_and_threads(manager: TokenManager, mint: Issuer, api: Resource) -> None:
    """32 threads with a session each cost one token."""
    auth, statuses = BearerAuth(manager), []

    def work() -> None:
        with requests.Session() as session:
            session.auth = auth
            statuses.extend(session.get(api.url).status_code for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([200] * 96, 1) == (statuses, mint.given)


def test_a_session_shared_by_threads(manager: TokenManager, mint: Issuer, api: Resource) -> None:
    """32 threads on one session are authorised alike."""
    session, statuses = requests.Session(), []
    session.auth = BearerAuth(manager)
    threads = [threading.Thread(target=lambda: statuses.append(session.get(api.url).status_code)) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([200] * 32, 1) == (statuses, mint.given)


def test_origins_keep_the_token_from_others(manager: TokenManager, api: Resource) -> None:
    """A request to another origin is sent without the token, and without asking for one."""
    api.behave = lambda seen: Reply()
    session = requests.Session()
    session.auth = BearerAuth(manager, origins=[api.url])
    session.get(api.elsewhere)
    session.get(api.url)
    session.get(f"{api.url}/again")
    assert [None, "Bearer token-1", "Bearer token-1"] == api.tokens


def test_many_origins_are_each_remembered(manager: TokenManager) -> None:
    """More origins than are remembered still get the token, each time."""
    auth = BearerAuth(manager, origins=["https://*.example.com"])
    urls = [f"https://a{number}.example.com/x" for number in range(40)] * 2
    assert all("Authorization" in prepare(auth, url).headers for url in urls)


def test_no_password_of_a_url_is_kept(manager: TokenManager) -> None:
    """A URL with a user and a password gets the token, and leaves nothing behind."""
    auth = BearerAuth(manager, origins=["https://*.example.com"])
    assert "Authorization" in prepare(auth, "https://joe:s3cret@a.example.com/").headers
    assert () == auth._authoriser._approved


def test_clear_text_is_refused(manager: TokenManager) -> None:
    """http:// beyond loopback is a ConfigurationError that names its request, before a token is asked for."""
    with pytest.raises(ConfigurationError, match="6750") as caught:
        prepare(BearerAuth(manager), "http://api.example.com/")
    assert "http://api.example.com/" == caught.value.request.url
    assert manager.current is None


def test_clear_text_can_be_allowed(manager: TokenManager) -> None:
    """allow_insecure=True sends the token anywhere."""
    assert "Authorization" in prepare(BearerAuth(manager, allow_insecure=True), "http://api.example.com/").headers


def test_no_token_is_an_error_of_requests(manager: TokenManager, mint: Issuer) -> None:
    """What is raised out of session.get() is a RequestException that knows its request."""
    mint.failing = True
    with pytest.raises(RequestException) as caught:
        prepare(BearerAuth(manager))
    assert isinstance(caught.value, AuthenticationError)
    assert URL == caught.value.request.url


def test_a_stopped_manager_is_an_error_of_requests(manager: TokenManager) -> None:
    """After stop() a request without a token fails at once."""
    manager.stop()
    with pytest.raises(RenewalStoppedError) as caught:
        prepare(BearerAuth(manager))
    assert URL == caught.value.request.url


def test_a_wait_that_ran_out_is_a_timeout(mint: Issuer) -> None:
    """The time-out of the auth object bounds the wait, and ends in a Timeout of requests."""
    release = threading.Event()
    mint.fetch_token = lambda context=None: release.wait(20) and Token("late")  # type: ignore[method-assign]
    with managed(mint) as manager:
        try:
            with pytest.raises(Timeout) as caught:
                prepare(BearerAuth(manager, timeout=0.05))
        finally:
            release.set()
    assert isinstance(caught.value, RenewalTimeoutError)
    assert URL == caught.value.request.url


@pytest.mark.parametrize(
    "arguments",
    [
        {"header": ""},
        {"header": "X Y"},
        {"header": "X:\r\nY"},
        {"header": None},
        {"refresh_status_codes": [200]},
        {"refresh_status_codes": ["401"]},
        {"refresh_status_codes": 401},
        {"refresh_status_codes": None},
        {"max_refresh_attempts": -1},
        {"max_refresh_attempts": 1.5},
        {"max_refresh_attempts": True},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 10**400},
        {"timeout": "5"},
        {"timeout": True},
        {"scheme": "a b"},
        {"scheme": 5},
        {"extra_headers": ["X-Key"]},
        {"extra_headers": {"X Key": "k"}},
        {"extra_headers": {"X-Key": "k\r\nX-Other: 1"}},
        {"extra_headers": {"X-Key": None}},
        {"origins": ["http://api.internal"]},
        {"origins": 5},
    ],
    ids=lambda arguments: str(arguments)[:40],
)
def test_wrong_arguments_are_refused_at_once(manager: TokenManager, arguments: dict[str, object]) -> None:
    """A ConfigurationError, which is a ValueError too, where the mistake is made."""
    with pytest.raises(ConfigurationError):
        BearerAuth(manager, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["fetcher", "provider", "pipeline"])
def test_what_a_manager_takes_is_enough(kind: str) -> None:
    """A manager is made of it, which close() ends; one that is given is left alone."""
    fetcher = StaticTokenFetcher(Token("abc"))
    pipeline = TokenFetchPipeline([fetcher], InMemoryTokenStorage())
    sources = {"fetcher": fetcher, "provider": PipelineTokenProvider(pipeline, "abc"), "pipeline": pipeline}
    with BearerAuth(sources[kind]) as auth:
        assert "Bearer abc" == prepare(auth).headers["Authorization"]
    with pytest.raises(RenewalStoppedError):
        auth.manager.force_refresh()


def test_a_manager_that_is_given_stays_open(manager: TokenManager) -> None:
    """Others may share it."""
    BearerAuth(manager).close()
    assert manager.get_token()


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (StaticTokenFetcher, r"not the class StaticTokenFetcher: write StaticTokenFetcher\(\.\.\.\)"),
        (lambda: "abc", r"write CallableTokenFetcher\(\.\.\.\)"),
        ("s3cret", r"write StaticTokenFetcher\(Token\(\.\.\.\)\)"),
        (None, "not NoneType"),
    ],
    ids=["a class", "a function", "a text", "nothing"],
)
def test_what_is_no_source_is_told_with_what_to_write(given: object, advice: str) -> None:
    """The value is not shown: it may be a token."""
    with pytest.raises(ConfigurationError, match=advice) as caught:
        BearerAuth(given)  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "value"),
    [(None, "Bearer token-1"), ("", "token-1"), ("SSWS", "SSWS token-1"), ("Token", "Token token-1")],
)
def test_the_word_before_the_token_can_be_chosen(manager: TokenManager, scheme: str | None, value: str) -> None:
    """Some APIs want another one, or none."""
    assert value == prepare(BearerAuth(manager, scheme=scheme)).headers["Authorization"]


def test_extra_headers_go_with_the_token(manager: TokenManager) -> None:
    """A mapping, or what a function makes of the token; what the request has already stays."""
    auth = BearerAuth(manager, extra_headers=lambda token: {"X-Key": f"k-{token.access_token}", "X-Own": "ours"})
    request = prepare(auth, **{"x-own": "mine"})
    assert ("k-token-1", "mine") == (request.headers["X-Key"], request.headers["X-Own"])
    elsewhere = BearerAuth(manager, origins=["https://other.example"], extra_headers={"X-Key": "k"})
    assert "X-Key" not in prepare(elsewhere).headers


def test_authorising_again_adds_no_second_hook(manager: TokenManager) -> None:
    """The token is the newest, and the request as if it had been authorised once."""
    auth = BearerAuth(manager, extra_headers=lambda token: {"X-Key": token.access_token})
    request = prepare(auth)
    for _ in range(3):
        manager.force_refresh()
        request.prepare_auth(auth)
    assert 1 == len(request.hooks["response"])
    assert ("Bearer token-4", "token-4") == (request.headers["Authorization"], request.headers["X-Key"])


def test_nothing_printed_shows_the_token(manager: TokenManager) -> None:
    """Neither the object nor the hook on a request."""
    auth = BearerAuth(manager)
    request = prepare(auth)
    assert "token-1" not in f"{auth!r} {auth} {request.hooks!r}"


def make_token() -> Token:
    return Token(CANARY)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda auth: pickle.loads(pickle.dumps(auth))])
def test_it_pickles_and_copies_with_its_manager(duplicate: object) -> None:
    """The copy has a manager of its own and works; a pickle holds no token."""
    from tokenkit.fetchers.local import CallableTokenFetcher

    with TokenManager(CallableTokenFetcher(make_token, name="made")) as manager:
        auth = BearerAuth(manager, header="X-Token", origins=["https://api.example.com"], timeout=5)
        prepare(auth)
        other = duplicate(auth)  # type: ignore[operator]
        with other.manager:
            assert other.manager is not manager
            assert f"Bearer {CANARY}" == prepare(other).headers["X-Token"]
            assert "X-Token" not in prepare(other, "https://other.example/").headers
    assert CANARY.encode() not in pickle.dumps(auth)


def test_a_response_pickles_with_the_hook_of_its_request(api: Resource) -> None:
    """Requests' responses pickle, and so must what we left on theirs; the hook itself does nothing any more."""
    from tokenkit.fetchers.local import CallableTokenFetcher

    api.behave = lambda seen: Reply()
    with TokenManager(CallableTokenFetcher(make_token, name="made")) as manager:
        response = requests.get(api.url, auth=BearerAuth(manager), timeout=10)
        other = pickle.loads(pickle.dumps(response))
    hook = other.request.hooks["response"][0]
    other.status_code = 401
    assert hook(other) is None


def test_a_copied_request_keeps_its_hook(manager: TokenManager) -> None:
    """A deep copy of a prepared request still knows which token it carries."""
    request = prepare(BearerAuth(manager))
    for other in (copy.deepcopy(request), copy.copy(request), request.copy()):
        assert request.hooks["response"][0] is other.hooks["response"][0]
    assert copy.copy(request.hooks["response"][0]) is request.hooks["response"][0]
