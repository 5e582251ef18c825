"""Which URLs get the token: a table of what people write and of what attackers write."""

import pytest
from requests import PreparedRequest, Request
from requests.exceptions import RequestException

from tokenkit.auth import BearerAuth
from tokenkit.auth._origins import OriginRules, origin_of
from tokenkit.errors import ConfigurationError
from tokenkit.manager import TokenManager

API = "https://api.example.com"
ORIGINS = [API, "https://*.wide.example", "https://[2001:db8::1]:8443", "https://bücher.example"]
LISTED = OriginRules(ORIGINS, allow_insecure=False)

ALLOWED = [
    "https://api.example.com",
    "https://api.example.com/",
    "https://api.example.com:443/v1?a=b#c",
    "HTTPS://API.EXAMPLE.COM/",
    "https://user:password@api.example.com/",
    "https://evil.example@api.example.com/",
    "https://a.wide.example/",
    "https://a.b.wide.example/",
    "https://[2001:db8::1]:8443/",
    "https://[2001:DB8:0:0:0:0:0:1]:8443/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://BÜCHER.example/",
    " https://api.example.com/",
    "https://api.example.com\\@evil.example/",  # requests makes a path of the rest; as it is, it has no origin
]
FOREIGN = [
    "http://api.example.com/",
    "https://api.example.com:444/",
    "https://api.example.com./",
    "https://api.example.com.evil.example/",
    "https://evil.example/?https://api.example.com/",
    "https://evil.example/https://api.example.com/",
    "https://evil.example#@api.example.com/",
    "https://api.example.com@evil.example/",
    "https://api.example.com:443@evil.example/",
    "https://api.example.com%2f@evil.example/",
    "https://evil.example\\@api.example.com/",
    "https://evil.example\\.api.example.com/",
    "https://api.example.com%00.evil.example/",
    "https://xapi.example.com/",
    "https://sub.api.example.com/",
    "https://wide.example/",
    "https://evilwide.example/",
    "https://wide.example.evil.example/",
    "https://[2001:db8::1]/",
    "https://[2001:db8::2]:8443/",
    "https://[2001:db8::1%25eth0]:8443/",
    "https://bucher.example/",
    "https://api。example.com.evil.example/",
    "https://api.examp1e.com/",
]
TRICKS = [
    "https:\\\\api.example.com\\@evil.example/",
    "https:api.example.com/",
    "https:/api.example.com/",
    "https:\\\\api.example.com/",
    "//api.example.com/",
    "https://",
    "https:///api.example.com/",
    "https://api.exa\tmple.com/",
    "https://api.exa\nmple.com/",
    "https://api.example.com:99999/",
    "https://api.example.com:x/",
    "https://[::1/",
    "ftp://api.example.com/",
    "",
]


def prepared(url: str) -> str:
    """Return *url* as requests would send to it, or as it is where requests refuses to."""
    request = PreparedRequest()
    try:
        request.prepare_url(url, None)
    except RequestException:
        return url
    return request.url or url


@pytest.mark.parametrize("url", ALLOWED)
def test_a_listed_origin_gets_the_token_however_it_is_spelled(url: str) -> None:
    """Case, default ports, IDNA and the spellings of an IPv6 address do not matter; the path never does."""
    assert LISTED.allow(prepared(url))


@pytest.mark.parametrize("url", FOREIGN + TRICKS)
def test_nothing_else_gets_the_token(url: str) -> None:
    """Neither another scheme, host or port gets it, nor what two parsers read in two ways."""
    assert not LISTED.allow(prepared(url))
    assert not LISTED.allow(url)  # as a redirect may set it, with no preparation


def authorised(auth: BearerAuth, url: str) -> bool:
    """Return whether a request to this very URL gets a token."""
    request = Request("GET", API).prepare()
    request.url = url
    return "Authorization" in auth(request).headers


@pytest.fixture(params=[[API], ORIGINS], ids=["one", "all"])
def warm(request: pytest.FixtureRequest, manager: TokenManager) -> BearerAuth:
    """An auth object that has a token, and has let through what it may: it knows how such URLs begin."""
    auth = BearerAuth(manager, origins=request.param)
    assert len(request.param) <= sum(authorised(auth, prepared(url)) for url in ALLOWED)
    return auth


@pytest.mark.parametrize("url", FOREIGN + TRICKS)
def test_the_fast_check_lets_nothing_by(warm: BearerAuth, url: str) -> None:
    """A URL that begins almost as those do that got the token gets none, prepared or as it is."""
    assert not authorised(warm, prepared(url))
    assert not authorised(warm, url)


@pytest.mark.parametrize(
    "text",
    [
        "api.example.com",
        "https://api.example.com/v1",
        "https://api.example.com?a",
        "https://api.example.com#a",
        "https://user:password@api.example.com",
        "https://a.*.example.com",
        "https://*",
        "*",
        "ftp://api.example.com",
        "https://",
        "",
        None,
        5,
    ],
)
def test_an_origin_is_scheme_host_and_port(text: object) -> None:
    """More or less than that is refused when the object is made, and not quoted: it may hold a password."""
    with pytest.raises(ConfigurationError, match=r"origins\[0\]") as caught:
        OriginRules([text], allow_insecure=False)  # type: ignore[list-item]
    assert "password" not in str(caught.value)


def test_one_string_is_no_list_of_origins() -> None:
    """A string would be taken for a list of letters."""
    with pytest.raises(ConfigurationError, match="list"):
        OriginRules("https://api.example.com", allow_insecure=False)


def test_an_insecure_origin_must_be_asked_for() -> None:
    """http:// beyond loopback is refused as an origin, unless it is allowed."""
    with pytest.raises(ConfigurationError, match="allow_insecure"):
        OriginRules(["http://api.internal"], allow_insecure=False)
    assert OriginRules(["http://api.internal"], allow_insecure=True).allow("http://api.internal/x")


@pytest.mark.parametrize(
    "url",
    ["https://any.example/", "http://127.0.0.1:8000/", "http://localhost/", "http://[::1]:80/", "http://127.9.9.9/"],
)
def test_without_a_list_tls_and_loopback_get_the_token(url: str) -> None:
    """The default allows what nobody on the way can read."""
    assert OriginRules(None, allow_insecure=False).allow(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost@example.com/",
        "http://127.1/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://localhost./",
    ],
)
def test_without_a_list_clear_text_is_refused(url: str) -> None:
    """RFC 6750 section 5.3; a host is loopback by its name, not by what it may resolve to."""
    with pytest.raises(ConfigurationError, match="6750"):
        OriginRules(None, allow_insecure=False).allow(url)
    assert OriginRules(None, allow_insecure=True).allow(url)


@pytest.mark.parametrize("url", ["mock://api/x", "http+unix://%2Ftmp%2Fsocket/x", "unix://socket/"])
def test_a_scheme_of_the_users_own_gets_the_token(url: str) -> None:
    """Requests sends it through an adapter that the user has mounted, or not at all; a list has http and https only."""
    assert OriginRules(None, allow_insecure=False).allow(url)
    assert not LISTED.allow(url)


@pytest.mark.parametrize("url", ["localhost:8080/x", "urn:isbn:1", "file:///etc/hostname", ""])
def test_what_leads_to_no_host_gets_no_token(url: str) -> None:
    """What becomes of it is requests' affair."""
    assert not OriginRules(None, allow_insecure=False).allow(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]:80/"])
def test_a_proxy_on_the_way_to_this_machine_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain session would send the token to it in clear text; NO_PROXY is heeded."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    rules = OriginRules(None, allow_insecure=False)
    with pytest.raises(ConfigurationError, match=r"NO_PROXY.*AuthorizedSession.*allow_insecure"):
        rules.allow(url)
    assert rules.allow(url, direct=True)
    assert OriginRules(None, allow_insecure=True).allow(url)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost,::1,[::1]")
    assert rules.allow(url)


def test_what_two_parsers_read_in_two_ways_has_no_origin() -> None:
    """A backslash ends a host for one parser and not for the other."""
    assert origin_of("https://api.example.com\\@evil.example/") is None


def test_an_empty_list_lets_nobody_have_the_token() -> None:
    """No origin is not any origin."""
    assert not OriginRules([], allow_insecure=False).allow("https://api.example.com/")


@pytest.mark.parametrize(
    ("url", "follows"),
    [
        ("https://api.example.com/other", True),
        ("https://api.example.com:443/", True),
        ("https://a.wide.example/", True),
        ("https://evil.example/", False),
        ("http://api.example.com/", False),
        ("https://api.example.com:8443/", False),
        ("https:evil", False),
    ],
)
def test_a_redirect_keeps_the_token_in_its_origin_and_the_listed_ones(url: str, follows: bool) -> None:
    """Everywhere else it goes on without."""
    assert follows == LISTED.follow("https://api.example.com/", url)


def test_without_a_list_a_redirect_keeps_the_token_in_its_origin_only() -> None:
    """That any https URL gets a token when asked for it does not mean that one may pass it on."""
    rules = OriginRules(None, allow_insecure=False)
    assert rules.follow("https://a.example/1", "https://a.example:443/2")
    assert not rules.follow("https://a.example/", "https://b.example/")
    assert not rules.follow("http://localhost/", "https://localhost/")


def test_an_origin_writes_its_prefix_as_requests_writes_urls() -> None:
    """The prefix of an origin is what a prepared URL of it begins with."""
    for url in ("https://api.example.com/x", "http://localhost:8000/", "https://[2001:db8::1]:8443/"):
        origin = origin_of(url)
        assert origin is not None
        assert prepared(url).startswith(origin.prefix)
