"""No secret is shown: not by any source, whatever fails, in anything that a program may print, store or send."""

import logging
import pickle
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from support import needs
from support.echo_server import ECHOES, as_json, said_back
from support.fault_proxy import Fault, fault_proxy
from support.leak_detector import Leaks, watched

from tokenkit import (
    BearerAuth,
    BodyTokenFetcher,
    ClientCredentialsFetcher,
    FetchContext,
    HeaderTokenFetcher,
    PipelineTokenProvider,
    Token,
    TokenFetcher,
    TokenFetchPipeline,
    TokenKitError,
    TokenManager,
)
from tokenkit.fetchers import (
    CallableTokenFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    HttpTokenFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    StaticTokenFetcher,
    StoredTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.oauth2 import BrowserSignIn, DeviceSignIn, SignedInFetcher, SignedJwtFetcher, SignInPrompt
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP

needs.module("jwt")
needs.module("cryptography")
from cryptography.hazmat.primitives import serialization  # noqa: E402  # needs cryptography
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

# With what URLs, forms and JSON write in other ways.
CLIENT_SECRET = "canary client+secret/%&=ü"
SHARED_SECRET = "canary-shared-secret-of-32-bytes-and-more"
PASSWORD = "canary pässword&more"
TOKEN = "canary-token-of-somebody"
CODE = "canary-authorization-code"
CREDENTIALS = (("client", CLIENT_SECRET), ("client", "canary+client%2Bsecret%2F%25%26%3D%C3%BC"))
KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
KEY_LINES = KEY.splitlines()[1:-1]
KEY_PASSWORD = "canary key password"
LOCKED_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
    )
    .decode()
)

CLIENT = {"client_id": "client", "client_secret": CLIENT_SECRET}
KEYED = {"client_id": "client", "client_auth": "private_key_jwt", "client_key": KEY}
LOCKED = {**KEYED, "client_key": LOCKED_KEY, "client_key_password": KEY_PASSWORD}
SIGNING = {"client_id": "client", "client_auth": "client_secret_jwt", "client_secret": SHARED_SECRET}

Make = Callable[..., TokenFetcher]


def oauth2(kind: Callable[..., TokenFetcher], **arguments: Any) -> Make:
    return lambda url, **options: kind(token_url=f"{url}/token", **arguments, **options)


def http(kind: Callable[..., TokenFetcher], path: str, **arguments: Any) -> Make:
    return lambda url, **options: kind("step", url, path, **arguments, **options)


SOURCES: dict[str, Make] = {
    "client_secret_basic": oauth2(ClientCredentialsFetcher, **CLIENT),
    "client_secret_post": oauth2(ClientCredentialsFetcher, client_auth="client_secret_post", **CLIENT),
    "client_secret_jwt": oauth2(ClientCredentialsFetcher, **SIGNING),
    "private_key_jwt": oauth2(ClientCredentialsFetcher, **KEYED),
    "client_key_password": oauth2(ClientCredentialsFetcher, **LOCKED),
    "client_assertion": oauth2(ClientCredentialsFetcher, client_id="client", client_assertion=TOKEN),
    "password": oauth2(PasswordFetcher, username="alice", password=PASSWORD, **CLIENT),
    "refresh_token": oauth2(RefreshTokenFetcher, refresh_token=TOKEN, **CLIENT),
    "key": oauth2(JwtBearerFetcher, key=KEY, issuer="issuer", subject="alice"),
    "assertion": oauth2(JwtBearerFetcher, assertion=TOKEN, **CLIENT),
    "exchange": oauth2(TokenExchangeFetcher, subject_token=TOKEN, actor_token=f"{TOKEN}-else", **CLIENT),
    "extra": oauth2(ClientCredentialsFetcher, extra_params={"pin": "canary-pin"}, **CLIENT),
    "http": http(HttpTokenFetcher, "/token", request_headers={"X-Key": TOKEN}, request_data={"pin": "canary-pin"}),
    "json": http(BodyTokenFetcher, "/token", content_type="json", request_data={"deep": {"pin": [PASSWORD]}}),
    "header": http(HeaderTokenFetcher, "/token", request_headers={"Authorization": f"Bearer {TOKEN}"}),
}
of_each_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


@pytest.fixture
def leaks() -> Leaks:
    return Leaks(*KEY_LINES, *LOCKED_KEY.splitlines()[1:-1], credentials=CREDENTIALS)


def see_failure(source: TokenFetcher, leaks: Leaks, caplog: pytest.LogCaptureFixture) -> None:
    """Let *source* fail, alone and under a manager, and take note of all that is shown."""
    with watched(leaks, caplog):
        with pytest.raises(TokenKitError) as caught:
            source.fetch(FetchContext())
        leaks.look_at_error(caught.value)
        with TokenManager(source) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)
            with pytest.raises(TokenKitError) as caught:
                session.get("http://127.0.0.1:1/", timeout=1)
            leaks.look_at_error(caught.value)
            leaks.look_at_object(manager)
            leaks.look_at_object(session.auth)
        leaks.look_at_object(source)


@of_each_source
@pytest.mark.parametrize("say", ECHOES.values(), ids=ECHOES)
def test_an_endpoint_that_says_all_back_shows_nothing(
    make: Make, say: Callable[[str, str], bytes], leaks: Leaks, caplog: pytest.LogCaptureFixture
) -> None:
    """Secrets come back in a field, a page, a header or a token that is none, and go no further."""
    with said_back(say) as server:
        see_failure(make(server.url, retries=0, timeout=2), leaks, caplog)
    assert [] == leaks.found


WRONG = [
    "status",
    "empty",
    "html",
    "redirect",
    "gzip",
    "truncate",
    "truncate_headers",
    "endless",
    "garbage",
    "reset",
    "close",
]


@of_each_source
@pytest.mark.parametrize("kind", WRONG)
def test_a_failing_endpoint_shows_nothing(
    make: Make, kind: Any, leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP
) -> None:
    """Whatever an endpoint does wrong."""
    local_idp.fail("token", kind=kind, times=None, processed=True)
    see_failure(make(local_idp.url, retries=0, timeout=2), leaks, caplog)
    assert [] == leaks.found


@pytest.mark.parametrize("fault", ["refuse", "black_hole", "cut_headers", "cut_body", "drip"])
@pytest.mark.parametrize("name", ["client_secret_basic", "private_key_jwt", "password", "http"])
def test_a_broken_network_shows_nothing(
    name: str, fault: Fault, leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP
) -> None:
    """Nor does the way there; tries that are repeated are logged."""
    with fault_proxy(int(local_idp.url.rpartition(":")[2])) as proxy:
        proxy.fail(fault)
        see_failure(SOURCES[name](proxy.url, retries=1, timeout=0.1), leaks, caplog)
    assert [] == leaks.found


@pytest.mark.parametrize("name", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
@pytest.mark.parametrize("action", ["revoke", "introspect"])
@pytest.mark.parametrize("say", ECHOES.values(), ids=ECHOES)
def test_an_endpoint_that_revokes_or_examines_shows_nothing(
    name: str, action: str, say: Callable[[str, str], bytes], leaks: Leaks, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets a token besides the client's secrets. Some of these answers are as good as any to it."""
    with said_back(say) as server, watched(leaks, caplog):
        urls = {"revocation_url": f"{server.url}/r", "introspection_url": f"{server.url}/i"}
        source = SOURCES[name](server.url, retries=0, timeout=2, **urls)
        try:
            getattr(source, action)(Token(TOKEN, refresh_token=f"{TOKEN}-r"))
        except TokenKitError as error:
            leaks.look_at_error(error)
    assert [] == leaks.found


def read_secret() -> str:
    return CLIENT_SECRET


def spend_token(token: Token) -> dict[str, str]:
    return {"pin": PASSWORD, "spend": str(token.refresh_token)}


def test_a_pickle_that_is_allowed_has_no_secret(
    leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP
) -> None:
    """A function at module level goes into it by name, a token and what a session knows do not."""
    local_idp.add_client("client", CLIENT_SECRET)
    source = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret=read_secret)
    with watched(leaks, caplog), TokenManager(source) as manager:
        token = manager.get_token()
        for one in (source, manager, BearerAuth(manager)):
            leaks.look("the pickle", pickle.dumps(one))
        assert token != pickle.loads(pickle.dumps(manager)).get_token()
    assert [] == leaks.found


def test_a_good_day_shows_nothing(leaks: Leaks, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Fetched, stored, used, rejected, refreshed, examined, revoked: the log has no token, whole or in part."""
    with LocalIdP() as idp, watched(leaks, caplog):
        idp.add_client("client", CLIENT_SECRET)
        idp.add_user("alice", PASSWORD)
        urls = {"revocation_url": idp.revoke_url, "introspection_url": idp.introspect_url}
        source = PasswordFetcher(token_url=idp.token_url, username="alice", password=PASSWORD, **CLIENT, **urls)
        manager = TokenManager(source, FileTokenStorage(tmp_path / "tokens"))
        with requests.Session() as session:
            session.auth = BearerAuth(manager)
            assert 200 == session.get(idp.api_url, timeout=5).status_code
            idp.revoke_current()
            assert 200 == session.get(idp.api_url, timeout=5).status_code
        token = manager.force_refresh()
        assert source.introspect(token)["active"]
        leaks.look("repr", token, repr(token), f"{token}", repr(session.auth))
        leaks.look_at_object(manager)
        manager.close(revoke=True)
    assert 3 == idp.count("token")
    assert not idp.is_active(token)
    assert caplog.records  # or nothing would have been proved
    assert [] == leaks.found


def test_a_failing_pipeline_shows_nothing(leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP) -> None:
    """A step that echoes the tokens of the steps before it, into errors of the pipeline and of its manager."""
    device = BodyTokenFetcher(
        "device", local_idp.url, "/device", request_data={"device_id": "7"}, token_field="data.token"
    )
    say = ECHOES["plain description"]
    with said_back(say) as server, watched(leaks, caplog):
        app = HeaderTokenFetcher(
            "app",
            server.url,
            "/app",
            request_headers=lambda context: {"X-Device-Token": context["device"].access_token},
            depends_on=["device"],
            retries=0,
        )
        pipeline = TokenFetchPipeline([device, app], InMemoryTokenStorage())
        with TokenManager(PipelineTokenProvider(pipeline, "service")) as manager:
            for ask in (pipeline.execute, manager.get_token):
                with pytest.raises(TokenKitError) as caught:
                    ask()
                leaks.look_at_error(caught.value)
            leaks.look("repr", repr(pipeline), repr(manager))
    assert [] == leaks.found


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def file_with(content: bytes) -> Callable[[Path], TokenFetcher]:
    def make(directory: Path) -> TokenFetcher:
        path = directory / "token"
        path.write_bytes(content)
        return FileTokenFetcher(path)

    return make


SAY_SECRET = "import os; print({!r}.format(os.environ['PIN']))"
PIN = {"PIN": "canary-pin"}
EXPIRED_JWT = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.canary"
EXPIRED = Token(EXPIRED_JWT, expires_at=datetime(2000, 1, 1, tzinfo=timezone.utc), refresh_token="canary-refresh")


def storage_with(token: Token) -> InMemoryTokenStorage:
    storage = InMemoryTokenStorage()
    storage.set("key", token)
    return storage


LOCAL: dict[str, Callable[[Path], TokenFetcher]] = {
    "static": lambda _: StaticTokenFetcher(EXPIRED),
    "environment": lambda _: EnvTokenFetcher("TOKENKIT_TEST_BAD_TOKEN"),
    "file": file_with(b"canary \x01 canary"),
    "binary file": file_with(b"canary \xff\xfe canary"),
    "expired file": file_with(EXPIRED_JWT.encode()),
    "command": lambda _: CommandTokenFetcher(program(SAY_SECRET.format("two words {}")), env=PIN),
    "json command": lambda _: CommandTokenFetcher(program(SAY_SECRET.format('{{"no": "{}"}}')), env=PIN),
    "cut command": lambda _: CommandTokenFetcher(program(SAY_SECRET.format('{{"access_token": "{}')), env=PIN),
    "failing command": lambda _: CommandTokenFetcher(
        program(SAY_SECRET.format("{}") + "; raise SystemExit(3)"), env=PIN
    ),
    "stored": lambda _: StoredTokenFetcher(storage_with(EXPIRED), "key"),
    "callable": lambda _: CallableTokenFetcher(read_secret),
    "key of a JWT": lambda _: SignedJwtFetcher("canary no key", {"sub": "canary-claim"}),
    "password of a key": lambda _: SignedJwtFetcher(LOCKED_KEY, {}, key_password="canary wrong"),
    "function of a key": lambda _: SignedJwtFetcher(lambda: LOCKED_KEY, lambda: {"sub": "s"}, key_password="canary no"),
    "missing command": lambda _: CommandTokenFetcher(["/nowhere/program"], env=PIN),
}


@pytest.mark.parametrize("make", LOCAL.values(), ids=LOCAL)
def test_a_failing_source_on_this_machine_shows_nothing(
    make: Callable[[Path], TokenFetcher],
    leaks: Leaks,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a variable, a file or a program holds in place of a token is not quoted."""
    monkeypatch.setenv("TOKENKIT_TEST_BAD_TOKEN", "canary \x01 canary")
    see_failure(make(tmp_path), leaks, caplog)
    assert [] == leaks.found


@pytest.mark.parametrize("data", [{"spend": "{refresh_token}", "pin": PASSWORD}, spend_token], ids=["data", "function"])
@pytest.mark.parametrize("say", ECHOES.values(), ids=ECHOES)
def test_an_endpoint_that_takes_a_refresh_token_of_its_own_shows_nothing(
    data: Any, say: Callable[[str, str], bytes], leaks: Leaks, caplog: pytest.LogCaptureFixture
) -> None:
    """What ``refresh_data`` says, and the refresh token that it spends, go no further than to the endpoint."""
    with said_back(say) as server, watched(leaks, caplog):
        source = BodyTokenFetcher(
            "step", server.url, "/login", refresh_endpoint="/refresh", refresh_data=data, retries=0, timeout=2
        )
        with pytest.raises(TokenKitError) as caught:
            source.refresh(Token("old", refresh_token=TOKEN))
        leaks.look_at_error(caught.value)
        leaks.look_at_object(source)
        assert TOKEN in server.requests[-1].decode()
    assert [] == leaks.found


def test_a_signed_token_is_not_shown(leaks: Leaks, caplog: pytest.LogCaptureFixture) -> None:
    """Nor its key, the password of that, or a pickle of either."""
    source = SignedJwtFetcher(LOCKED_KEY, {"sub": "canary-claim"}, key_password=KEY_PASSWORD)
    with watched(leaks, caplog), TokenManager(source) as manager:
        leaks.look("repr", repr(manager.get_token()))
        for one in (source, manager):
            leaks.look_at_object(one)
    assert [] == leaks.found


# People sign in

DEVICE_ANSWER = {
    "device_code": "canary-device-code",
    "user_code": "CODE",
    "verification_uri": "https://id.example.com/device",
    "expires_in": 9,
    "interval": 0.001,
}


def begin(url: str) -> DeviceSignIn:
    urls = {"device_authorization_url": f"{url}/device", "token_url": f"{url}/token"}
    return DeviceSignIn(**urls, client_id="app", retries=0, timeout=2)  # type: ignore[arg-type]  # by name


def come_back(prompt: SignInPrompt, **fields: str) -> str:
    """Land on the program's page as a browser does, with a code, and return the page; no log of this process has it."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(prompt.url).query).items()}
    answer = {"state": asked["state"], "code": CODE, **fields}
    try:
        with urllib.request.urlopen(f"{asked['redirect_uri']}?{urlencode(answer)}", timeout=5) as page:
            return str(page.headers) + page.read().decode()
    except urllib.error.HTTPError as error:
        return str(error.headers) + error.read().decode()


def sign_in_badly(flow: Any, show: Callable[[SignInPrompt], object], leaks: Leaks, limit: float = 20.0) -> None:
    """Let a sign-in fail, alone and under a manager with a storage, and take note of all that is shown."""
    with TokenManager(SignedInFetcher(flow), InMemoryTokenStorage()) as manager:
        for ask in (flow.sign_in, manager.sign_in):
            with pytest.raises(TokenKitError) as caught:
                ask(show, limit)
            leaks.look_at_error(caught.value)
        for one in (flow, flow.sign_in, manager):
            leaks.look_at_object(one)


@pytest.mark.parametrize("say", ECHOES.values(), ids=ECHOES)
def test_the_code_of_a_device_is_not_shown(
    say: Callable[[str, str], bytes], leaks: Leaks, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the endpoint says when it is asked with it."""

    def answer_begin(connection: Any) -> None:
        connection.sendall(as_json("200 OK", **DEVICE_ANSWER))

    with said_back(say, answer_begin) as server, watched(leaks, caplog):
        flow = begin(server.url)
        with pytest.raises(TokenKitError) as caught:
            flow.sign_in(lambda _: None, 0.3)
        leaks.look_at_error(caught.value)
        leaks.look_at_object(flow)
        assert "canary-device-code" in server.requests[-1].decode()
    assert [] == leaks.found


@pytest.mark.parametrize("say", ECHOES.values(), ids=ECHOES)
def test_the_code_and_the_verifier_of_a_browser_are_not_shown(
    say: Callable[[str, str], bytes], leaks: Leaks, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the endpoint says when they are redeemed; the page on which the person lands shows neither."""
    pages: list[str] = []
    with said_back(say) as server, watched(leaks, caplog):
        urls = {"authorization_url": f"{server.url}/authorize", "token_url": f"{server.url}/token"}
        flow = BrowserSignIn(**urls, client_id="app", retries=0, timeout=2)  # type: ignore[arg-type]  # by name
        sign_in_badly(flow, lambda prompt: pages.append(come_back(prompt)), leaks)
        forms = [parse_qs(request.decode().partition("\r\n\r\n")[2]) for request in server.requests]
    leaks.learn(*(form["code_verifier"][0] for form in forms))
    leaks.look("the page", *pages)
    assert [[CODE]] * 2 == [form["code"] for form in forms]
    assert [] == leaks.found


@pytest.mark.parametrize(
    "fields",
    [{"state": "canary-state"}, {"error": "canary refused\n"}, {"code": ""}, {"iss": "https://canary.example"}],
    ids=["state", "error", "no code", "issuer"],
)
def test_what_a_browser_brings_that_is_no_answer_is_not_shown(
    fields: dict[str, str], leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP
) -> None:
    """Not on the page, in no log, and in no error: the landing URL is as secret as the code in it."""
    local_idp.add_client("app")
    pages: list[str] = []
    with watched(leaks, caplog):
        flow = BrowserSignIn(issuer=local_idp.issuer, client_id="app", retries=0)
        limit = 0.1 if "state" in fields else 20.0  # what is no answer is waited on after
        sign_in_badly(flow, lambda prompt: pages.append(come_back(prompt, **fields)), leaks, limit)
    leaks.look("the page", *pages)
    assert 2 == len(pages)
    assert [] == leaks.found


def test_a_good_sign_in_shows_nothing(
    leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP, tmp_path: Path
) -> None:
    """A person signs in, the grant is stored and spent, and the log has no code, verifier or token."""
    local_idp.add_client("app")
    flow = BrowserSignIn(issuer=local_idp.issuer, client_id="app", scope="orders")
    with watched(leaks, caplog), TokenManager(SignedInFetcher(flow), FileTokenStorage(tmp_path / "tokens")) as manager:
        token = manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
        leaks.learn(*(local_idp.last_form[name][0] for name in ("code", "code_verifier")))
        leaks.look("repr", repr(token), repr(manager.force_refresh()))
        for one in (flow, manager.source, manager):
            leaks.look_at_object(one)
    assert caplog.records
    assert [] == leaks.found


def test_no_secret_is_an_argument_of_a_process(leaks: Leaks) -> None:
    """A program gets its secrets in its environment; what everybody may list has none."""
    text = "import os; print(open('/proc/self/cmdline').read().replace(chr(0), '-').encode().hex())"
    source = CommandTokenFetcher(program(text), env=PIN)
    if not Path("/proc/self/cmdline").exists():
        needs.missing("/proc")
    leaks.look("the arguments", bytes.fromhex(source.fetch().access_token), Path("/proc/self/cmdline").read_bytes())
    assert [] == leaks.found


def test_the_search_finds_what_is_there(leaks: Leaks, caplog: pytest.LogCaptureFixture, local_idp: LocalIdP) -> None:
    """A secret in a log record, in an attribute of a cause, in base64, or in a token is found."""
    with watched(leaks, caplog):
        logging.getLogger("one").debug("%s", PASSWORD)
    error = TokenKitError("failed")
    error.__cause__ = RuntimeError({"inner": [local_idp.issue().authorization]})
    leaks.look("a header", requests.auth._basic_auth_str("client", CREDENTIALS[1][1]), KEY_LINES[0])
    leaks.look_at_error(error)
    places = {one.partition(":")[0] for one in leaks.found}
    assert {"the log of one", "the attributes", "a header"} <= places
