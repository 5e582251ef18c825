"""The OAuth 2.0 grants against an identity provider on this machine."""

import base64
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import responses
from support import needs

from tokenkit._secrecy.references import SecretReference
from tokenkit.contracts import Challenge, FetchContext
from tokenkit.errors import (
    ConfigurationError,
    MalformedResponseError,
    SignInRequiredError,
    TokenEndpointError,
    TransportError,
)
from tokenkit.fetchers import (
    AuthorizationServer,
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    OAuth2Fetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token


@pytest.fixture
def idp() -> Iterator[LocalIdP]:
    with LocalIdP() as server:
        yield server


def client(idp: LocalIdP, **options: Any) -> ClientCredentialsFetcher:
    arguments = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    return ClientCredentialsFetcher(**{**arguments, **options})


def user(idp: LocalIdP, **options: Any) -> PasswordFetcher:
    arguments = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    return PasswordFetcher(**{**arguments, "username": "alice", "password": "wonderland", **options})


def refresher(idp: LocalIdP, **options: Any) -> RefreshTokenFetcher:
    arguments = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    return RefreshTokenFetcher(**{**arguments, **options})


def form(idp: LocalIdP) -> dict[str, list[str]]:
    return dict(idp.last_request("token").form)


# The grants


def test_client_credentials_bring_a_token(idp: LocalIdP) -> None:
    """The token is good, and nothing but the grant was sent in the body."""
    assert idp.is_active(client(idp).fetch())
    assert {"grant_type": ["client_credentials"]} == form(idp)


def test_a_password_brings_a_token_and_a_refresh_token(idp: LocalIdP) -> None:
    """The password is spent once; the refresh token does the rest."""
    source = user(idp)
    first = source.fetch()
    second = source.refresh(first)
    assert idp.is_active(second)
    assert (1, 1) == (idp.count("token:password"), idp.count("token:refresh_token"))


def test_a_refresh_token_brings_tokens(idp: LocalIdP) -> None:
    """The given refresh token is spent first, then the one that came in its place."""
    source = refresher(idp, refresh_token=user(idp).fetch().refresh_token)
    first = source.fetch()
    second = source.refresh(first)
    assert idp.is_active(second)
    assert 0 == idp.reuse_detected


def test_a_rotated_refresh_token_is_not_spent_again_by_fetch(idp: LocalIdP) -> None:
    """A second fetch, after the token was thrown away, spends the newest refresh token it knows."""
    source = refresher(idp, refresh_token=user(idp).fetch().refresh_token)
    source.fetch()
    assert idp.is_active(source.fetch())
    assert 0 == idp.reuse_detected


def test_an_assertion_made_here_brings_a_token(idp: LocalIdP) -> None:
    """A client that nobody named gets a token for the assertion's subject, again and again."""
    needs.module("jwt")
    idp.trust_issuer("https://issuer.example", "k" * 32)
    source = JwtBearerFetcher(
        token_url=idp.token_url,
        client_id="client",
        client_secret="secret",
        issuer="https://issuer.example",
        subject="alice",
        key="k" * 32,
        algorithm="HS256",
    )
    assert idp.is_active(source.fetch())
    assert idp.is_active(source.fetch())


@pytest.mark.parametrize(("lifetime", "seconds"), [(0.1, 1), (0.9, 1), (1, 1), (1.5, 2), (300, 300)])
def test_an_assertion_lives_for_whole_seconds(idp: LocalIdP, lifetime: float, seconds: int) -> None:
    """Rounded up: one that expires in the second of its issue would be good for nothing."""
    jwt = needs.module("jwt")
    idp.trust_issuer("https://issuer.example", "k" * 32)
    source = JwtBearerFetcher(
        token_url=idp.token_url,
        issuer="https://issuer.example",
        subject="alice",
        key="k" * 32,
        algorithm="HS256",
        assertion_lifetime=lifetime,
        retries=0,
    )
    with suppress(TokenEndpointError):  # late, on a machine with much to do
        source.fetch()
    claims = jwt.decode(form(idp)["assertion"][0], options={"verify_signature": False})
    assert seconds == claims["exp"] - claims["iat"]


def test_a_finished_assertion_is_sent_as_it_is(idp: LocalIdP, tmp_path: Path) -> None:
    """It may be in a file, which is read at each try."""
    path = tmp_path / "assertion"
    path.write_text("an.assertion.made-elsewhere\n")
    source = JwtBearerFetcher(token_url=idp.token_url, assertion=path)
    with pytest.raises(TokenEndpointError):
        source.fetch()
    assert ["an.assertion.made-elsewhere"] == form(idp)["assertion"]
    assert "client_id" not in form(idp)


def test_a_token_is_exchanged(idp: LocalIdP) -> None:
    """The subject's token may come from the context of a pipeline; the types are written out."""
    source = TokenExchangeFetcher(
        token_url=idp.token_url,
        client_id="client",
        client_secret="secret",
        subject_token=lambda context: context["user"].access_token,
        requested_token_type="access_token",
        audience="backend",
        depends_on=["user"],
    )
    token = source.fetch(FetchContext({"user": user(idp).fetch()}))
    assert idp.is_active(token)
    assert ["urn:ietf:params:oauth:token-type:access_token"] == form(idp)["subject_token_type"]
    assert ["backend"] == form(idp)["audience"]


def test_an_actor_is_named(idp: LocalIdP) -> None:
    """A Token serves as a subject or an actor too."""
    source = TokenExchangeFetcher(
        token_url=idp.token_url,
        client_id="client",
        client_secret="secret",
        subject_token=user(idp).fetch(),
        actor_token=client(idp).fetch().access_token,
    )
    assert idp.is_active(source.fetch())
    assert ["urn:ietf:params:oauth:token-type:access_token"] == form(idp)["actor_token_type"]


# Parameters


def test_scopes_audiences_and_resources_are_sent(idp: LocalIdP) -> None:
    """Scopes are joined, audiences and resources repeat (RFC 8693 section 2.1, RFC 8707 section 2)."""
    client(idp, scope=["b", "a"], resource=["https://one.example", "https://two.example"], audience="x").fetch()
    sent = form(idp)
    assert (["b a"], ["x"]) == (sent["scope"], sent["audience"])
    assert ["https://one.example", "https://two.example"] == sent["resource"]


def test_any_parameter_may_be_a_function(idp: LocalIdP) -> None:
    """It is called at each fetch, with the context only where it takes one."""
    source = client(
        idp,
        client_id=lambda: "client",
        client_secret=lambda context: "secret",
        scope=lambda context: context["other"].scope,
        extra_params=lambda: {"tenant": "t1"},
        depends_on=["other"],
    )
    source.fetch(FetchContext({"other": Token("x", scope="read write")}))
    assert (["read write"], ["t1"]) == (form(idp)["scope"], form(idp)["tenant"])


def test_a_refresh_sends_what_the_grant_sent_but_the_scope(idp: LocalIdP) -> None:
    """The server may have granted less than was asked for; asking for more than that would be refused."""
    source = user(idp, scope="read", resource="https://one.example", extra_params={"tenant": "t1"})
    source.refresh(source.fetch())
    sent = form(idp)
    assert (["t1"], ["https://one.example"]) == (sent["tenant"], sent["resource"])
    assert "scope" not in sent


# Client authentication


def test_basic_encodes_the_parts(idp: LocalIdP) -> None:
    """Both parts are form-encoded before they are joined (RFC 6749 section 2.3.1)."""
    idp.add_client("id:with colon", "påss/word+%")
    assert idp.is_active(client(idp, client_id="id:with colon", client_secret="påss/word+%").fetch())
    header = idp.last_request("token").headers["authorization"]
    assert b"id%3Awith+colon:p%C3%A5ss%2Fword%2B%25" == base64.b64decode(header.partition(" ")[2])


def test_post_sends_the_secret_in_the_body(idp: LocalIdP) -> None:
    """And no header."""
    client(idp, client_auth="client_secret_post").fetch()
    assert ["secret"] == form(idp)["client_secret"]
    assert "authorization" not in idp.last_request("token").headers


def test_a_public_client_names_itself(idp: LocalIdP) -> None:
    """With 'none' the client's identifier is sent, and nothing that proves it."""
    idp.add_client("public")
    source = user(idp, client_id="public", client_secret=None, client_auth="none")
    assert idp.is_active(source.fetch())
    assert ["public"] == form(idp)["client_id"]


def test_a_client_secret_signs(idp: LocalIdP) -> None:
    """client_secret_jwt proves the secret without sending it."""
    needs.module("jwt")
    idp.add_client("signing", "s" * 32)
    source = client(idp, client_id="signing", client_secret="s" * 32, client_auth="client_secret_jwt")
    assert idp.is_active(source.fetch())
    assert "client_secret" not in form(idp)


def pem(key: Any) -> str:
    serialization = needs.module("cryptography.hazmat.primitives.serialization")
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode()


def public_pem(key: Any) -> str:
    serialization = needs.module("cryptography.hazmat.primitives.serialization")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    asymmetric = "cryptography.hazmat.primitives.asymmetric"
    ec, ed25519 = needs.module(f"{asymmetric}.ec"), needs.module(f"{asymmetric}.ed25519")
    return {
        "RS256": needs.module(f"{asymmetric}.rsa").generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_private_key_signs_with_its_usual_algorithm(idp: LocalIdP, keys: dict[str, Any], algorithm: str) -> None:
    """The algorithm follows from the key; the ``kid`` is as given."""
    idp.add_client("signing", key=public_pem(keys["RS256"]))
    source = client(
        idp,
        client_id="signing",
        client_secret=None,
        client_auth="private_key_jwt",
        client_key=pem(keys[algorithm]),
        client_key_id="key-1",
    )
    try:
        source.fetch()
    except TokenEndpointError:
        pass  # the server has one key only; what was sent counts
    header = form(idp)["client_assertion"][0].partition(".")[0]
    assert {"alg": algorithm, "kid": "key-1", "typ": "JWT"} == json.loads(base64.urlsafe_b64decode(header + "=="))


def test_every_try_has_an_assertion_of_its_own(idp: LocalIdP, keys: dict[str, Any]) -> None:
    """The server takes each ``jti`` once; a retry below the fetcher would send a spent one."""
    idp.add_client("signing", key=public_pem(keys["RS256"]))
    idp.fail("token", status=503, processed=True)
    source = client(
        idp,
        client_id="signing",
        client_secret=None,
        client_auth="private_key_jwt",
        client_key=lambda: pem(keys["RS256"]),
    )
    assert idp.is_active(source.fetch())
    assert 2 == idp.count("token")


BROKEN_PEM = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("/etc/canary.pem", "must be the text of a PEM file"),
        (b"\x00canary", "must be the text of a PEM file"),
        ("-----BEGIN PUBLIC KEY-----canary-----END PUBLIC KEY-----", "must be a private key"),
        (BROKEN_PEM, "cannot be read"),
        (lambda: None, "not NoneType"),
        (lambda: {"kty": "canary"}, "not dict"),
    ],
)
def test_a_key_that_cannot_sign_is_not_quoted(idp: LocalIdP, key: Any, problem: str) -> None:
    """The error names the argument and what is wrong, and nothing of its value."""
    needs.module("jwt")
    source = client(idp, client_secret=None, client_auth="private_key_jwt", client_key=key)
    with pytest.raises(ConfigurationError, match=f"client_key.*{problem}") as caught:
        source.fetch()
    assert "canary" not in repr(caught.value)
    assert caught.value.__context__ is None


# Refresh tokens


def test_an_omitted_refresh_token_is_kept(idp: LocalIdP) -> None:
    """An answer without one leaves the old one valid (RFC 6749 section 6)."""
    source = user(idp)
    idp.fail("token", body={"access_token": "new", "token_type": "bearer"}, status=200)
    token = source.refresh(Token("old", refresh_token="rt-1"))
    assert ("new", "rt-1") == (token.access_token, token.refresh_token)


def test_a_lifetime_of_a_kept_refresh_token_goes_on(idp: LocalIdP) -> None:
    """It is counted from the new token's issue, so what has passed is taken off."""
    first = Token.from_response({"access_token": "a", "refresh_token": "rt-1", "refresh_expires_in": 100})
    idp.fail("token", body={"access_token": "new"}, status=200)
    token = user(idp).refresh(first)
    assert 95 <= token.extra["refresh_expires_in"] <= 100


def test_a_refresh_token_that_ran_out_is_not_spent(idp: LocalIdP) -> None:
    """What the server said of its lifetime saves a refusal."""
    source = user(idp)
    now = source.fetch()
    gone = Token("a", issued_at=now.issued_at, refresh_token="rt", extra={"refresh_expires_in": 1e-9})
    assert idp.is_active(source.refresh(gone))
    assert 0 == idp.count("token:refresh_token")


@pytest.mark.parametrize("unlimited", [0, "soon", None, True])
def test_a_refresh_token_without_a_usable_limit_is_spent(idp: LocalIdP, unlimited: Any) -> None:
    """0 is how Keycloak says 'for ever'; what makes no sense is no limit."""
    token = user(idp).fetch()
    extra = {"refresh_expires_in": unlimited}
    user(idp).refresh(Token("a", issued_at=token.issued_at, refresh_token=token.refresh_token, extra=extra))
    assert 1 == idp.count("token:refresh_token")


def test_a_refused_refresh_token_is_for_the_caller_to_judge(idp: LocalIdP) -> None:
    """Refresh does not fall back by itself: another process may have a newer one in the storage."""
    source = user(idp)
    with pytest.raises(TokenEndpointError) as caught:
        source.refresh(Token("old", refresh_token="nobody's"))
    assert "invalid_grant" == caught.value.error
    assert 0 == idp.count("token:password")


def test_without_a_refresh_token_refresh_is_the_full_grant(idp: LocalIdP) -> None:
    """Client credentials usually bring none."""
    source = client(idp)
    assert idp.is_active(source.refresh(Token("old")))
    assert 1 == idp.count("token:client_credentials")


REFUSALS = [
    (400, "invalid_grant"),
    (400, "invalid_request"),
    (200, "bad_refresh_token"),
    (200, "invalid_refresh_token"),
    (401, "invalid_token"),
    (403, "unauthorized_client"),
    (400, "unsupported_grant_type"),
    (400, "interaction_required"),
]


@pytest.mark.parametrize(("status", "word"), REFUSALS)
def test_a_dead_refresh_token_asks_for_a_person(idp: LocalIdP, status: int, word: str) -> None:
    """Whatever the words in which an OAuth error says it; it is asked once, and the cause keeps the facts."""
    idp.fail("token", status=status, body={"error": word}, times=None)
    with pytest.raises(SignInRequiredError, match="a person must sign in again") as caught:
        refresher(idp, refresh_token="dead").fetch()
    assert isinstance(caught.value.__cause__, TokenEndpointError)
    assert word == caught.value.__cause__.error
    assert not caught.value.transient
    assert 1 == idp.count("token")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_without_an_oauth_error_costs_no_grant(idp: LocalIdP, status: int) -> None:
    """It may be a proxy's or a firewall's page: the same refresh token is tried again."""
    fetcher = refresher(idp, refresh_token=idp.issue(kind="refresh").access_token)
    idp.fail("token", status=status, body=b"")
    with pytest.raises(TokenEndpointError, match=f"status {status}"):
        fetcher.fetch()
    assert idp.is_active(fetcher.fetch())


def test_words_of_a_provider_for_what_is_gone_can_be_added(idp: LocalIdP) -> None:
    """What is gone is not sent a second time."""
    idp.fail("token", status=400, body={"error": "token_revoked_by_user"}, times=None)
    fetcher = refresher(idp, refresh_token="dead", gone_errors=["token_revoked_by_user"])
    for _ in range(2):
        with pytest.raises(SignInRequiredError):
            fetcher.fetch()
    assert 1 == idp.count("token")


def test_words_of_a_provider_are_a_sequence() -> None:
    """One string would be its letters."""
    with pytest.raises(ConfigurationError, match="gone_errors"):
        ClientCredentialsFetcher(token_url="https://idp.example/t", client_id="c", client_secret="s", gone_errors="x")


def test_a_grant_that_is_too_narrow_names_what_is_missing(idp: LocalIdP) -> None:
    """Only a person can widen it; what it reaches to already is not named."""
    fetcher = refresher(idp, refresh_token=idp.issue(kind="refresh").access_token, scope="read write")
    idp.fail("token", status=400, body={"error": "invalid_scope"})
    with pytest.raises(SignInRequiredError, match="what is asked for: write: a person"):
        fetcher.refresh(Token("old", scope="read"))


def test_a_scope_is_sent_on_every_refresh_by_its_own_fetcher(idp: LocalIdP) -> None:
    """Its user gave it, and a server may need it to choose the resource; other grants leave it out."""
    fetcher = refresher(idp, refresh_token=idp.issue(kind="refresh").access_token, scope="read")
    fetcher.refresh(fetcher.fetch())
    assert ["read"] == form(idp)["scope"]


def test_a_spent_refresh_token_is_never_sent_again(idp: LocalIdP) -> None:
    """What the server gave for it is spent in its place, however old the token that is shown."""
    fetcher = refresher(idp, refresh_token=idp.issue(kind="refresh").access_token)
    first = fetcher.fetch()
    fetcher.refresh(first)
    for _ in range(2):
        fetcher.refresh(first)
        fetcher.fetch()
    assert 0 == idp.reuse_detected


def test_a_server_that_goes_back_to_a_refresh_token_is_followed(idp: LocalIdP) -> None:
    """The one that an answer brings is good, whatever it was before."""
    fetcher = refresher(idp, refresh_token="rt-1")
    for newer in ("rt-2", "rt-1", "rt-2"):
        idp.fail("token", body={"access_token": "new", "token_type": "bearer", "refresh_token": newer}, status=200)
        assert newer == fetcher.fetch().refresh_token
    assert ["rt-1"] == form(idp)["refresh_token"]


@pytest.mark.parametrize("way", ["fetch", "refresh"])
def test_a_refused_refresh_token_is_not_shown_again(idp: LocalIdP, way: str) -> None:
    """Once the endpoint has called it no good, the next fetch says so without asking."""
    fetcher = refresher(idp, refresh_token=idp.issue(kind="refresh").access_token)
    token = fetcher.fetch()
    idp.revoke_all()
    with pytest.raises(SignInRequiredError):
        fetcher.fetch() if way == "fetch" else fetcher.refresh(token)
    idp.reset_counts()
    with pytest.raises(SignInRequiredError, match="a person must sign in again"):
        fetcher.fetch()
    assert 0 == idp.count("token")


def test_two_refused_refresh_tokens_are_not_shown_in_turn(idp: LocalIdP) -> None:
    """Of several, each is sent once."""
    fetcher = refresher(idp, refresh_token="given")
    for _ in range(3):
        for ask in (fetcher.fetch, lambda: fetcher.refresh(Token("token", refresh_token="stored"))):
            with pytest.raises(SignInRequiredError):
                ask()
    assert 2 == idp.count("token")


def test_a_new_refresh_token_is_not_blamed_for_the_old_one(idp: LocalIdP) -> None:
    """Another process may have put it in the place of the old one while the server was refusing that."""
    values = ["old", idp.issue(kind="refresh").access_token]
    fetcher = refresher(idp, refresh_token=lambda: values.pop(0) if len(values) > 1 else values[0])
    with pytest.raises(SignInRequiredError):
        fetcher.fetch()
    assert idp.is_active(fetcher.fetch())


@pytest.mark.parametrize("way", ["fetch", "refresh"])
def test_a_new_sign_in_counts(idp: LocalIdP, way: str) -> None:
    """The refresh token that came of the old one is not spent any more: it may be another user's."""
    values = [idp.issue(kind="refresh").access_token]
    fetcher = refresher(idp, refresh_token=lambda: values[-1])
    token = fetcher.fetch()
    values.append(idp.issue(kind="refresh").access_token)
    fetcher.fetch() if way == "fetch" else fetcher.refresh(token)
    assert [values[-1]] == form(idp)["refresh_token"]


def test_a_wrong_client_does_not_ask_for_a_person(idp: LocalIdP) -> None:
    """Signing in again would not help there."""
    with pytest.raises(TokenEndpointError) as caught:
        refresher(idp, refresh_token="rt", client_secret="wrong").fetch()
    assert "invalid_client" == caught.value.error
    assert "sign in" not in caught.value.message


@pytest.mark.parametrize("kind", ["reset", "truncate", "status"])
def test_a_lost_answer_to_a_refresh_is_not_asked_for_again(idp: LocalIdP, kind: Any) -> None:
    """The refresh token may be spent; to show it again would be taken for theft."""
    source = user(idp)
    token = source.fetch()
    idp.fail("token:refresh_token", kind=kind, processed=True)
    with pytest.raises((TransportError, TokenEndpointError)) as caught:
        source.refresh(token)
    assert caught.value.transient
    assert (1, 0) == (idp.count("token:refresh_token"), idp.reuse_detected)


# Odd answers


@pytest.mark.parametrize("token_type", ["mac", "DPoP", "N_A", 7])
def test_a_token_of_another_type_is_refused(idp: LocalIdP, token_type: Any) -> None:
    """It could not be used as a bearer token."""
    idp.fail("token", status=200, body={"access_token": "canary", "token_type": token_type})
    with pytest.raises(MalformedResponseError, match="not a bearer token") as caught:
        client(idp).fetch()
    assert "client_credentials" == caught.value.step_name


@pytest.mark.parametrize("token_type", [None, "", "bearer", "Bearer", "BEARER"])
def test_a_bearer_token_is_taken_however_it_is_written(idp: LocalIdP, token_type: Any) -> None:
    """The type is case-insensitive (RFC 6749 section 7.1), and some servers leave it out."""
    idp.fail("token", status=200, body={"access_token": "good", "token_type": token_type})
    assert "Bearer good" == client(idp).fetch().authorization


def test_an_exchanged_token_may_be_no_access_token(idp: LocalIdP) -> None:
    """RFC 8693 section 2.2.1 has the type N_A for that."""
    idp.fail("token", status=200, body={"access_token": "an-id-token", "token_type": "N_A"})
    source = TokenExchangeFetcher(token_url=idp.token_url, subject_token="subject")
    assert "an-id-token" == source.fetch().access_token


def test_an_error_object_with_a_200_is_a_refusal(idp: LocalIdP) -> None:
    """Its code is as good as with a 400."""
    idp.fail("token", status=200, body={"error": "slow_down", "error_description": "not now"})
    with pytest.raises(TokenEndpointError, match="slow_down: not now") as caught:
        client(idp).fetch()
    assert (200, True) == (caught.value.status, caught.value.transient)


def test_json_that_is_cut_short_is_transient(idp: LocalIdP) -> None:
    """Where an answer has no length, a broken connection looks like its end."""
    cut = b'{"access_token": "canary'
    idp.fail("token", status=200, body=cut, headers={"Content-Type": "application/json"})
    with pytest.raises(MalformedResponseError) as caught:
        client(idp).fetch()
    assert (True, None) == (caught.value.transient, caught.value.__context__)


@pytest.mark.parametrize(
    "body", [b"<html>canary</html>", b'["canary"]', b'"canary"', b"canary", b"{}", b'{"token": "canary"}', b"[" * 50000]
)
def test_a_success_without_a_token_is_malformed(idp: LocalIdP, body: bytes) -> None:
    """Nothing of the body is quoted, and nothing that holds it is chained."""
    idp.fail("token", status=200, body=body)
    with pytest.raises(MalformedResponseError) as caught:
        client(idp).fetch()
    assert "canary" not in str(caught.value)
    assert not caught.value.transient
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "error", "transient"),
    [
        (400, "invalid_grant", False),
        (400, "temporarily_unavailable", True),
        (400, "server_error", True),
        (401, "invalid_client", False),
        (403, None, False),
        (408, None, True),
        (425, None, True),
        (429, None, True),
        (500, None, True),
        (501, None, True),
        (503, None, True),
    ],
)
def test_a_refusal_is_transient_by_status_and_code(idp: LocalIdP, status: int, error: Any, transient: bool) -> None:
    """Retry logic reads the attribute."""
    idp.fail("token", status=status, body={"error": error} if error else b"", times=None)
    with pytest.raises(TokenEndpointError) as caught:
        client(idp, retries=0).fetch()
    assert (status, error, transient) == (caught.value.status, caught.value.error, caught.value.transient)


def test_a_refusal_has_the_fields_of_rfc_6749_cleaned(idp: LocalIdP) -> None:
    """Control characters and echoed secrets are taken out, and long texts are shortened."""
    body = {
        "error": "invalid_client",
        "error_description": "no \x1b[31msecret-of-mine\nfor you " + "x" * 400,
        "error_uri": "https://idp.example/?s=secret-of-mine",
        "detail": "canary",
    }
    idp.fail("token", status=400, body=body)
    with pytest.raises(TokenEndpointError) as caught:
        client(idp, client_secret="secret-of-mine", client_auth="client_secret_post").fetch()
    error = caught.value
    assert error.error_description is not None
    assert error.error_description.startswith("no  [31m[secret] for you xxx")
    assert 200 == len(error.error_description)
    assert "https://idp.example/?s=[secret]" == error.error_uri
    assert "canary" not in repr(vars(error))


@pytest.mark.parametrize("body", [{"error": {"code": 7}}, {"error": 7, "error_description": []}, [], b"\xff"])
def test_fields_of_another_type_are_left_out(idp: LocalIdP, body: Any) -> None:
    """Some servers have an object where RFC 6749 section 5.2 has a code."""
    idp.fail("token", status=400, body=json.dumps(body) if not isinstance(body, bytes) else body)
    with pytest.raises(TokenEndpointError) as caught:
        client(idp).fetch()
    assert (None, None) == (caught.value.error, caught.value.error_description)


def test_ttl_overrides_the_answer(idp: LocalIdP) -> None:
    """Also where the answer says nonsense."""
    from datetime import timedelta

    idp.fail("token", status=200, body={"access_token": "a", "expires_in": -1})
    token = client(idp, ttl=timedelta(minutes=5)).fetch()
    assert 290 < token.expires_in() <= 300  # type: ignore[operator]  # not None, with a ttl


# Discovery, revocation, introspection


def test_the_issuers_metadata_are_read_once(idp: LocalIdP) -> None:
    """They tell the endpoints, in place of token_url."""
    source = client(idp, token_url=None, issuer=idp.issuer)
    assert idp.is_active(source.fetch())
    source.fetch()
    assert (1, 2) == (idp.count("metadata"), idp.count("token"))


def test_openid_connect_metadata_do_as_well(idp: LocalIdP) -> None:
    """They are asked for where the page of RFC 8414 is not there."""
    idp.fail("metadata", status=404)
    assert idp.is_active(client(idp, token_url=None, issuer=idp.issuer).fetch())
    assert 2 == idp.count("metadata")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"issuer": "https://other.example"}, "is of the issuer https://other.example.*token_url="),
        ({"issuer": None}, "no issuer that it names"),
        ({"token_endpoint": None}, "token_endpoint must be an absolute"),
        ({"token_endpoint": "http://example.com/token"}, "in the clear"),
    ],
)
def test_metadata_that_cannot_be_trusted_are_refused(idp: LocalIdP, change: dict[str, Any], problem: str) -> None:
    """The issuer must be the very one (RFC 8414 section 3.3), and the endpoint may not be in the clear."""
    body = {"issuer": idp.issuer, "token_endpoint": idp.token_url, **change}
    idp.fail("metadata", status=200, body=body, times=None)
    with pytest.raises(MalformedResponseError, match=problem):
        client(idp, token_url=None, issuer=idp.issuer).fetch()
    assert 0 == idp.count("token")


def test_failing_metadata_are_asked_for_again_later(idp: LocalIdP) -> None:
    """A failure is not kept."""
    source = client(idp, token_url=None, issuer=idp.issuer, retries=0)
    idp.fail("metadata", status=503, times=3)
    with pytest.raises(MalformedResponseError, match="status 503") as caught:
        source.fetch()
    assert caught.value.transient
    assert idp.is_active(source.fetch())


def test_another_page_is_read_where_one_is_broken(idp: LocalIdP) -> None:
    """A gateway that answers 500 for an unknown page, or another tenant's metadata, is no end."""
    for broken in ({"status": 500}, {"status": 200, "body": {"issuer": "https://other.example"}}):
        idp.fail("metadata", **broken)
        assert idp.is_active(client(idp, token_url=None, issuer=idp.issuer, retries=0).fetch())


@responses.activate
def test_metadata_are_read_again_when_an_endpoint_is_gone() -> None:
    """A server that has moved its token endpoint says where it is now."""
    page = "https://idp.example/.well-known/oauth-authorization-server"
    for url in ("https://idp.example/old", "https://idp.example/new"):
        responses.get(page, json={"issuer": "https://idp.example", "token_endpoint": url})
    responses.post("https://idp.example/old", status=404)
    responses.post("https://idp.example/new", json={"access_token": "moved"})
    source = ClientCredentialsFetcher(issuer="https://idp.example", client_id="c", client_secret="s")
    assert "moved" == source.fetch().access_token


@responses.activate
def test_an_endpoint_that_is_gone_and_has_not_moved_is_asked_once() -> None:
    """The metadata name the same one again: its refusal is the answer."""
    page, url = "https://idp.example/.well-known/oauth-authorization-server", "https://idp.example/old"
    responses.get(page, json={"issuer": "https://idp.example", "token_endpoint": url})
    gone = responses.post(url, status=410)
    source = ClientCredentialsFetcher(issuer="https://idp.example", client_id="c", client_secret="s")
    with pytest.raises(TokenEndpointError) as caught:
        source.fetch()
    assert (410, 1) == (caught.value.status, gone.call_count)


def test_a_refresh_token_of_a_pipeline_has_no_grant_of_its_own(idp: LocalIdP) -> None:
    """Which one it is depends on the tokens of earlier steps; each fetcher that cannot read its own has another key."""
    assert refresher(idp, refresh_token=lambda context: context["app"].refresh_token).grant_key is None
    absent = SecretReference("env", "TOKENKIT_TEST_NOWHERE")
    assert 2 == len({refresher(idp, refresh_token=absent).cache_key for _ in range(2)})


@pytest.mark.parametrize("path", ["", "/tenant"])
def test_an_issuer_with_a_path_has_its_pages_elsewhere(path: str) -> None:
    """RFC 8414 puts its part between host and path, OpenID Connect behind."""
    from tokenkit.fetchers.oauth2._discovery import _well_known

    oauth, openid, *okta = _well_known(f"https://idp.example{path}")
    assert f"https://idp.example/.well-known/oauth-authorization-server{path}" == oauth
    assert f"https://idp.example{path}/.well-known/openid-configuration" == openid
    assert ([f"https://idp.example{path}/.well-known/oauth-authorization-server"] if path else []) == okta


def test_a_fetcher_revokes_its_token(idp: LocalIdP) -> None:
    """The refresh token goes first, and both are dead afterwards."""
    source = user(idp, issuer=idp.issuer)
    token = source.fetch()
    source.revoke(token, timeout=5)
    assert not idp.is_active(token)
    with pytest.raises(TokenEndpointError):
        source.refresh(token)


def test_a_fetcher_introspects_its_token(idp: LocalIdP) -> None:
    """What the server says is given as it is."""
    source = client(idp, introspection_url=idp.introspect_url)
    assert source.introspect(source.fetch())["active"] is True
    assert source.introspect("nobody's", timeout=5)["active"] is False


@responses.activate
def test_revoking_two_tokens_takes_no_longer_than_one() -> None:
    """The second request has the time that the first one left."""

    def dawdle(_request: object) -> tuple[int, dict[str, str], str]:
        time.sleep(0.1)
        return 200, {}, ""

    responses.add_callback("POST", "https://idp.example/revoke", dawdle)
    source = ClientCredentialsFetcher(**{**GOOD, "revocation_url": "https://idp.example/revoke"})
    source.revoke(Token("a", refresh_token="r"), timeout=30)
    first, second = (call.request.req_kwargs["timeout"][1] for call in responses.calls)
    assert second < first - 0.09


@pytest.mark.parametrize("method", ["revoke", "introspect"])
def test_no_time_to_ask_the_server_asks_it_nothing(idp: LocalIdP, method: str) -> None:
    """As for a fetch."""
    source = client(idp, revocation_url=idp.revoke_url, introspection_url=idp.introspect_url)
    with pytest.raises(TransportError, match="no time was left"):
        getattr(source, method)("x", timeout=0)
    assert [] == idp.requests


def test_an_endpoint_that_is_not_known_is_a_matter_of_configuration(idp: LocalIdP) -> None:
    """The message says what to give."""
    with pytest.raises(ConfigurationError, match="revocation_url is not known"):
        client(idp).revoke("x")


def test_tokens_from_elsewhere_are_introspected_and_revoked(idp: LocalIdP) -> None:
    """The functions need no fetcher, only a client."""
    token = client(idp).fetch()
    who = {"client_id": "client", "client_secret": "secret", "issuer": idp.issuer}
    with AuthorizationServer(**who) as server:
        assert server.introspect(token)["active"] is True
        server.revoke(token.access_token)
        assert server.introspect(token)["active"] is False


def test_an_introspection_that_says_nothing_is_malformed(idp: LocalIdP) -> None:
    """Anything but a boolean could be misread."""
    idp.fail("introspect", status=200, body={"active": "yes"})
    with pytest.raises(MalformedResponseError):
        client(idp, introspection_url=idp.introspect_url).introspect("x")


# Arguments

GOOD = {"token_url": "https://idp.example/token", "client_id": "c", "client_secret": "s"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"token_url": None}, "token_url or issuer is missing"),
        ({"token_url": "http://idp.example/token"}, "in the clear"),
        ({"token_url": "https://u:p@idp.example/token"}, "user name"),
        ({"token_url": "https://idp.example/token#f"}, "fragment"),
        ({"token_url": "idp.example/token"}, "absolute"),
        ({"token_url": "https://idp.example:99999/"}, "absolute"),
        ({"issuer": "https://idp.example/?q", "token_url": None}, "query"),
        ({"client_auth": "secret_handshake"}, "client_auth must be one of"),
        ({"client_id": None}, "client_id is missing"),
        ({"client_secret": None}, "needs client_secret="),
        ({"client_auth": "none"}, "would not use client_secret="),
        ({"client_auth": "private_key_jwt"}, "needs client_key="),
        ({"client_auth": "tls_client_auth"}, "needs cert="),
        ({"name": ""}, "name"),
        ({"depends_on": "step"}, "depends_on"),
        ({"ttl": 5}, "ttl"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": (1, 0)}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"extra_params": {"grant_type": "x"}}, "extra_params must not hold grant_type"),
        ({"extra_params": 5}, "extra_params must be"),
        ({"scope": 5}, "scope"),
        ({"audience": [5]}, "audience"),
        ({"resource": b"api"}, "resource"),
    ],
)
def test_a_wrong_argument_is_found_before_any_network(change: dict[str, Any], problem: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError, match=problem):
        ClientCredentialsFetcher(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (PasswordFetcher, {"username": "a", "password": ""}),
        (RefreshTokenFetcher, {"refresh_token": ""}),
        (JwtBearerFetcher, {}),
        (JwtBearerFetcher, {"assertion": "a", "key": "k"}),
        (JwtBearerFetcher, {"key": "k", "client_id": None, "client_secret": None}),
        (JwtBearerFetcher, {"token_url": None, "issuer": "i", "assertion": "a"}),
        (JwtBearerFetcher, {"assertion": "a", "assertion_lifetime": 0}),
        (JwtBearerFetcher, {"assertion": "a", "assertion_lifetime": float("inf")}),
        (TokenExchangeFetcher, {"subject_token": ""}),
        (TokenExchangeFetcher, {"subject_token": "a", "actor_token_type": "jwt"}),
    ],
)
def test_a_grant_checks_its_own_arguments(kind: Any, arguments: dict[str, Any]) -> None:
    """What does not go together is refused."""
    with pytest.raises(ConfigurationError):
        kind(**{**GOOD, **arguments})


def test_a_grant_has_a_name() -> None:
    """What all grants share is none itself."""
    with pytest.raises(ConfigurationError, match="no grant"):
        OAuth2Fetcher(token_url="https://idp.example/token", client_id="client", client_secret="s")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "localhost:8080"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    """Anything else needs allow_insecure=True."""
    ClientCredentialsFetcher(**{**GOOD, "token_url": f"http://{host}/token"})
    ClientCredentialsFetcher(**{**GOOD, "token_url": "http://idp.example/token"}, allow_insecure=True)


@pytest.mark.parametrize("missing", ["", None])
def test_a_token_to_be_sent_must_be_there(missing: Any) -> None:
    """A function that has none is an error before the request."""
    source = TokenExchangeFetcher(token_url="http://127.0.0.1:1/", subject_token=lambda: missing)
    with pytest.raises(ConfigurationError, match="subject_token is missing"):
        source.fetch()


# Discovery and client authentication together, and keys that do not load


@responses.activate
def test_both_pages_of_metadata_take_no_longer_than_one() -> None:
    """The second request has the time that the first one left."""

    def dawdle(_request: object) -> tuple[int, dict[str, str], str]:
        time.sleep(0.1)
        return 404, {}, ""

    issuer = "https://idp.example"
    responses.add_callback("GET", f"{issuer}/.well-known/oauth-authorization-server", dawdle)
    responses.get(f"{issuer}/.well-known/openid-configuration", status=404)
    source = ClientCredentialsFetcher(issuer=issuer, client_id="client", client_secret="secret")
    with pytest.raises(MalformedResponseError):
        source.fetch(FetchContext(timeout=30))
    first, second = (call.request.req_kwargs["timeout"][1] for call in responses.calls)
    assert second < first - 0.09


SIGNING = {"client_id": "signing", "client_secret": "s" * 32, "client_auth": "client_secret_jwt"}


def audience(idp: LocalIdP, endpoint: Any) -> str:
    claims = idp.last_request(endpoint).form["client_assertion"][0].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"])


def test_an_assertion_is_for_the_issuer_where_one_is_given(idp: LocalIdP) -> None:
    """Whichever endpoint it is shown at; one for a URL could be used by whoever runs another endpoint."""
    needs.module("jwt")
    idp.add_client("signing", "s" * 32)
    source = ClientCredentialsFetcher(issuer=idp.issuer, **SIGNING)
    token = source.fetch()
    assert source.introspect(token)["active"] is True
    source.revoke(token)
    with AuthorizationServer(issuer=idp.issuer, **SIGNING) as server:
        assert server.introspect(token)["active"] is False
    assert [idp.issuer] * 3 == [audience(idp, endpoint) for endpoint in ("token", "introspect", "revoke")]


def test_an_assertion_is_for_the_token_endpoint_else(idp: LocalIdP) -> None:
    """Or for where it is shown, if there is none."""
    needs.module("jwt")
    idp.add_client("signing", "s" * 32)
    AuthorizationServer(token_url=idp.token_url, introspection_url=idp.introspect_url, **SIGNING).introspect("x")
    assert idp.token_url == audience(idp, "introspect")
    with pytest.raises(TokenEndpointError):
        AuthorizationServer(introspection_url=idp.introspect_url, **SIGNING).introspect("x")
    assert idp.introspect_url == audience(idp, "introspect")


def test_metadata_are_not_read_for_a_client_that_shows_its_secret(idp: LocalIdP) -> None:
    """It need not say whom that is for."""
    AuthorizationServer(
        client_id="client", client_secret="secret", issuer=idp.issuer, revocation_url=idp.revoke_url
    ).revoke("x")
    assert 0 == idp.count("metadata")


@pytest.mark.parametrize("algorithm", [None, "RS256"])
def test_a_key_needs_the_extra_that_loads_it(monkeypatch: pytest.MonkeyPatch, algorithm: str | None) -> None:
    """PyJWT alone knows no key but a secret."""
    needs.module("jwt")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    key = {"client_auth": "private_key_jwt", "client_key": "canary", "client_algorithm": algorithm}
    source = ClientCredentialsFetcher(token_url="https://127.0.0.1:1/", client_id="c", **key)
    with pytest.raises(ConfigurationError, match=r"requests-tokenkit\[crypto\]") as caught:
        source.fetch()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("algorithm", [None, "EdDSA"])
def test_a_key_of_an_unknown_kind_is_not_quoted(keys: dict[str, Any], algorithm: str | None) -> None:
    """The libraries do not agree on the class of that error."""
    needs.module("jwt")
    lines = pem(keys["EdDSA"]).splitlines()
    unknown = base64.b64decode(lines[1]).replace(b"\x2b\x65\x70", b"\x2b\x65\x7f")  # an OID that nobody has
    key = "\n".join([lines[0], base64.b64encode(unknown).decode(), lines[2]])
    options = {"client_auth": "private_key_jwt", "client_key": key, "client_algorithm": algorithm}
    source = ClientCredentialsFetcher(token_url="https://127.0.0.1:1/", client_id="c", **options)
    with pytest.raises(ConfigurationError, match="client_key cannot be read") as caught:
        source.fetch()
    assert caught.value.__context__ is None


WANTED = '{"access_token":{"nbf":{"essential":true,"value":"16"}}}'
CLAIMS = [WANTED, base64.b64encode(WANTED.encode()).decode(), base64.urlsafe_b64encode(WANTED.encode()).decode()[:-1]]


@pytest.mark.parametrize("claims", CLAIMS)
def test_a_claims_challenge_is_answered(idp: LocalIdP, claims: str) -> None:
    """The request that follows has the claims, beside those that are always sent, and the next one has not."""
    always = '{"access_token": {"xms_cc": {"values": ["cp1"]}}}'
    source = client(idp, claims_challenge=True, extra_params={"claims": always})
    source.fetch(FetchContext(challenge=Challenge(error="insufficient_claims", claims=claims)))
    wanted = {"access_token": {"xms_cc": {"values": ["cp1"]}, "nbf": {"essential": True, "value": "16"}}}
    assert wanted == json.loads(form(idp)["claims"][0])
    source.fetch()
    assert [always] == form(idp)["claims"]


@pytest.mark.parametrize(
    ("answers", "challenge"),
    [
        (False, Challenge(error="insufficient_claims", claims=WANTED)),
        (True, Challenge(error="invalid_token", claims=WANTED)),
        (True, Challenge(error="insufficient_claims")),
        *((True, Challenge(error="insufficient_claims", claims=junk)) for junk in ("[1]", "{", "!", "e", "[" * 9999)),
        (True, None),
    ],
)
def test_nothing_else_is_a_claims_challenge(idp: LocalIdP, answers: bool, challenge: Challenge | None) -> None:
    """Another error, no claims, what is no JSON object, and a client that was not told to answer."""
    client(idp, claims_challenge=answers).fetch(FetchContext(challenge=challenge))
    assert "claims" not in form(idp)


def test_a_refresh_answers_a_claims_challenge(idp: LocalIdP) -> None:
    """The refresh token is spent with the claims."""
    source = user(idp, claims_challenge=True)
    challenge = Challenge(error="insufficient_claims", claims=WANTED)
    source.refresh(source.fetch(), FetchContext(challenge=challenge))
    sent = form(idp)
    assert (["refresh_token"], WANTED) == (sent["grant_type"], sent["claims"][0].replace(" ", ""))


def test_claims_challenge_is_a_switch(idp: LocalIdP) -> None:
    """The claims themselves are no value for it."""
    with pytest.raises(ConfigurationError, match="claims_challenge must be True or False"):
        client(idp, claims_challenge=WANTED)
