"""How a client proves itself, what is sent with it, and what is refused before it is sent."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import responses
from responses.matchers import header_matcher, json_params_matcher
from support import needs

from tokenkit._secrecy.references import SecretReference
from tokenkit.errors import ConfigurationError, MalformedResponseError, SourceUnavailableError, TokenKitError
from tokenkit.fetchers import ClientCredentialsFetcher, JwtBearerFetcher, PasswordFetcher, RefreshTokenFetcher
from tokenkit.fetchers.oauth2 import AuthorizationServer
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

URL = "https://idp.example/token"
WHO = {"token_url": URL, "client_id": "c"}
ANSWER = {"access_token": "t", "token_type": "bearer", "expires_in": 60}


def sent(answer: Any = ANSWER, *, matching: Any = (), **options: Any) -> tuple[Token, Any]:
    """Return the token and the request of a fetch."""
    with responses.RequestsMock() as mock:
        mock.post(URL, json=answer, match=matching)
        token = ClientCredentialsFetcher(**{**WHO, **options}).fetch()
        return token, mock.calls[0].request


def form(request: Any) -> dict[str, str]:
    return dict(parse_qsl(request.body))


def test_a_finished_assertion_takes_the_place_of_a_secret(tmp_path: Path) -> None:
    """Federated credentials and SPIFFE give one, as a string, a file or a function (RFC 7521 section 4.2)."""
    path = tmp_path / "token"
    path.write_text("eyJ.a.b\n")
    for assertion in ("eyJ.a.b", path, lambda: "eyJ.a.b", lambda: Token("eyJ.a.b")):
        fields = form(sent(client_assertion=assertion)[1])
        assert "eyJ.a.b" == fields["client_assertion"]
        assert "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" == fields["client_assertion_type"]
        assert "c" == fields["client_id"]


def test_an_assertion_goes_with_no_secret() -> None:
    """Who gives both would not know which is sent."""
    with pytest.raises(ConfigurationError, match="client_assertion= takes the place"):
        ClientCredentialsFetcher(**WHO, client_assertion="a", client_secret="s")


def test_basic_may_be_sent_raw() -> None:
    """For servers that do not decode the form that RFC 6749 section 2.3.1 wants."""
    raw = sent(client_secret="a+b/c=", client_auth="client_secret_basic_raw")[1]
    encoded = sent(client_secret="a+b/c=")[1]
    assert b"c:a+b/c=" == base64.b64decode(raw.headers["Authorization"].split()[1])
    assert b"c:a%2Bb%2Fc%3D" == base64.b64decode(encoded.headers["Authorization"].split()[1])


def test_a_token_request_may_have_headers() -> None:
    """A User-Agent that the server wants, or a gateway's key."""
    headers = [header_matcher({"User-Agent": "shop/1", "X-Key": "k"})]
    sent(client_secret="s", request_headers={"User-Agent": "shop/1", "X-Key": "k"}, matching=headers)
    sent(client_secret="s", request_headers=lambda: {"User-Agent": "shop/1", "X-Key": "k"}, matching=headers)


def test_a_token_request_may_be_json() -> None:
    """For endpoints that take nothing else."""
    body = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}
    sent(client_secret="s", client_auth="client_secret_post", content_type="json", matching=[json_params_matcher(body)])


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({"data": {"access_token": "t", "expires_in": 60, "refresh_token": "r"}}, "data.access_token"),
        (
            {"ok": True, "authed_user": {"access_token": "t", "expires_in": 60, "refresh_token": "r"}},
            "authed_user.access_token",
        ),
        ({"accessToken": "t", "expiresIn": 60, "refreshToken": "r"}, "accessToken"),
    ],
)
def test_the_token_may_lie_elsewhere(answer: Any, field: str) -> None:
    """What belongs to it is looked for beside it."""
    token = sent(answer, client_secret="s", token_field=field)[0]
    assert ("t", "r") == (token.access_token, token.refresh_token)
    assert 50 < (token.expires_in() or 0) <= 60


def test_an_identity_token_ends_when_it_says() -> None:
    """What stands beside it is the lifetime of the access token."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 4_000_000_000}).encode()).decode().rstrip("=")
    token = sent({**ANSWER, "id_token": f"h.{claims}.s"}, client_secret="s", token_field="id_token")[0]
    assert f"h.{claims}.s" == token.access_token
    assert 4_000_000_000 == token.expires_at.timestamp()  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize("told", ["BearerToken", "token"])
def test_a_type_may_be_said_to_be_another(told: str) -> None:
    """Apigee's tokens are bearer tokens by another name; unsaid, they are refused."""
    answer = {**ANSWER, "token_type": told}
    assert "Bearer t" == sent(answer, client_secret="s", token_type="Bearer")[0].authorization
    with pytest.raises(MalformedResponseError, match="token_type="):
        sent(answer, client_secret="s")


@pytest.mark.parametrize("bound", ["mac", "PoP", "DPoP"])
def test_a_type_that_needs_a_proof_is_none_to_say(bound: str) -> None:
    """Such a token is worth nothing without it."""
    with pytest.raises(ConfigurationError, match="proof"):
        ClientCredentialsFetcher(**WHO, client_secret="s", token_type=bound)


class Opaque:
    """A secret type of another library: its text is no secret."""

    def __str__(self) -> str:
        return "**********"


# (what is given, what the error says of it)
NO_SECRETS: dict[str, tuple[Any, str]] = {
    "None": (lambda: None, "is missing: the function returned None"),
    "empty": (lambda: "", "is missing: the function returned empty"),
    "bytes": (lambda: b"canary", "must be a string: the function returned bytes"),
    "an object": (lambda: Opaque(), "must be a string: the function returned Opaque"),
    "a table": (lambda: {"a": "canary"}, "must be a string: the function returned dict"),
    "no variable": (lambda: {}["CANARY_NAME"], "is missing: the function raised KeyError: 'CANARY_NAME'"),
    "half a character": (lambda: "\ud800", "is no text that UTF-8 can hold"),
    "literal bytes": (b"canary", "must be a string: it is bytes"),
    "literal object": (Opaque(), "must be a string: it is Opaque"),
}


@pytest.mark.parametrize(("value", "problem"), NO_SECRETS.values(), ids=NO_SECRETS)
@pytest.mark.parametrize(
    ("kind", "argument", "others"),
    [
        (ClientCredentialsFetcher, "client_secret", {}),
        (ClientCredentialsFetcher, "client_secret", {"client_auth": "client_secret_post"}),
        (ClientCredentialsFetcher, "client_id", {"client_secret": "s"}),
        (PasswordFetcher, "password", {"username": "u", "client_auth": "none"}),
        (RefreshTokenFetcher, "refresh_token", {"client_auth": "none"}),
    ],
)
def test_what_is_no_secret_is_never_sent(kind: Any, argument: str, others: Any, value: Any, problem: str) -> None:
    """The error names the argument and the kind of value, before any network."""
    with pytest.raises(ConfigurationError) as caught:
        kind(**{**WHO, **others, argument: value}).fetch()
    assert f"{argument} {problem}" in str(caught.value)
    assert "canary" not in repr(caught.value).replace("KeyError: 'CANARY_NAME'", "")


def test_under_a_manager_it_reaches_the_callers_as_it_is() -> None:
    """Each gets one of its own, and the function is not called again before the pause of a refusal is over."""
    called: list[int] = []

    def secret() -> Any:
        called.append(1)

    with TokenManager(ClientCredentialsFetcher(**WHO, client_secret=secret)) as manager:
        caught = []
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="client_secret is missing") as one:
                manager.get_token(timeout=5)
            caught.append(one.value)
    assert caught[0] is not caught[1]
    assert 1 == len(called)


def test_a_variable_that_is_not_set_is_a_source_that_is_not_there() -> None:
    """A reference names its place, and a chain goes on."""
    source = ClientCredentialsFetcher(**WHO, client_secret=SecretReference("env", "TOKENKIT_TEST_NOWHERE"))
    with pytest.raises(SourceUnavailableError, match="TOKENKIT_TEST_NOWHERE"):
        source.fetch()


def test_a_server_is_known_by_some_url() -> None:
    """Otherwise there is nobody to ask."""
    with pytest.raises(ConfigurationError, match="issuer, introspection_url or revocation_url is missing"):
        AuthorizationServer(client_id="c", client_secret="s")


@responses.activate
def test_an_access_token_need_not_be_revocable() -> None:
    """Where its refresh token is revoked, it is as good as revoked (RFC 7009 section 2.2.1)."""
    refusal = {"error": "unsupported_token_type"}
    responses.post("https://idp.example/revoke", status=200)
    responses.post("https://idp.example/revoke", status=400, json=refusal)
    server = AuthorizationServer(revocation_url="https://idp.example/revoke", client_id="c", client_secret="s")
    server.revoke(Token("a", refresh_token="r"))
    assert 2 == len(responses.calls)
    with pytest.raises(TokenKitError, match="unsupported_token_type"):
        server.revoke("a")


def pem(password: bytes | None = None) -> str:
    needs.module("jwt")
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import ec

    encryption = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, encryption).decode()


def header(assertion: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(assertion.split(".")[0] + "=="))
    return decoded


def test_an_encrypted_key_has_a_password() -> None:
    """Without it, or with a wrong one, the error names the argument to look at."""
    key = {"client_auth": "private_key_jwt", "client_key": pem(b"pass")}
    assert "client_assertion" in form(sent(**key, client_key_password="pass")[1])
    with pytest.raises(ConfigurationError, match=r"client_key is encrypted.*client_key_password="):
        ClientCredentialsFetcher(**WHO, **key).fetch()
    with pytest.raises(ConfigurationError, match=r"client_key cannot be decrypted.*client_key_password="):
        ClientCredentialsFetcher(**WHO, **key, client_key_password="other").fetch()


def test_an_assertion_has_the_header_that_the_server_wants() -> None:
    """A certificate's thumbprint, and a key identifier that changes with the key."""
    options = {"client_assertion_headers": {"x5t": "thumb"}, "client_key_id": lambda: "2026-2"}
    assertion = form(sent(client_auth="private_key_jwt", client_key=pem(), **options)[1])["client_assertion"]
    assert ("thumb", "2026-2") == (header(assertion)["x5t"], header(assertion)["kid"])


def test_an_issuer_may_speak_for_itself() -> None:
    """As Google's service accounts do: the subject is the issuer."""
    with responses.RequestsMock() as mock:
        mock.post(URL, json=ANSWER)
        JwtBearerFetcher(token_url=URL, issuer="me@project", key=pem()).fetch()
        claims = form(mock.calls[0].request)["assertion"].split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert ("me@project", "me@project", URL) == (decoded["iss"], decoded["sub"], decoded["aud"])


def test_a_finished_assertion_may_name_the_client() -> None:
    """Then no client_id is sent (RFC 7521 section 4.2)."""
    _token, request = sent(client_id=None, client_secret=None, client_assertion="a.b.c")
    assert "client_id" not in form(request)
    assert "a.b.c" == form(request)["client_assertion"]


def test_a_server_is_asked_in_one_of_two_ways() -> None:
    """And is shown by its host alone."""
    with pytest.raises(ConfigurationError, match="content_type must be 'form' or 'json'"):
        AuthorizationServer(revocation_url="https://idp.example/r?k=1", client_id="c", content_type="xml")  # type: ignore[arg-type]  # wrong
    server = AuthorizationServer(revocation_url="https://idp.example/r?k=1", client_id="c", client_secret="canary")
    assert "<AuthorizationServer at idp.example>" == repr(server)
