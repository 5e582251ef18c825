"""What LocalIdP's token endpoint grants, to whom, and how it refuses."""

import base64
import itertools

import pytest
import requests
from support import needs

from tokenkit.testing import LocalIdP

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SECRET = "a-shared-secret-of-more-than-sixty-four-bytes-so-that-no-algorithm-complains"
IDENTIFIERS = itertools.count()


def ask(idp, grant_type="client_credentials", auth=("client", "secret"), headers=None, **form):
    """Send one request to the token endpoint."""
    form = {"grant_type": grant_type, **form}
    return requests.post(idp.token_url, data=form, auth=auth, headers=headers, timeout=10)


def sign_in(idp, **form):
    """Return the answer to a password grant, which brings a refresh token."""
    return ask(idp, "password", username="alice", password="wonderland", **form).json()


def refresh(idp, refresh_token, **form):
    return ask(idp, "refresh_token", refresh_token=refresh_token, **form)


def refused(answer):
    """Return what a refusal consists of: RFC 6749 section 5.2."""
    assert "no-store" == answer.headers["Cache-Control"]
    assert answer.json()["error_description"]
    return answer.status_code, answer.json()["error"]


def assertion(idp, key=SECRET, algorithm="HS256", **claims):
    """Sign a JWT in good order but for *claims*; a claim of None is left out."""
    jwt = needs.module("jwt")
    good = {
        "iss": "client",
        "sub": "client",
        "aud": idp.token_url,
        "exp": 32503680000,
        "jti": f"id-{next(IDENTIFIERS)}",
    }
    return jwt.encode({k: v for k, v in (good | claims).items() if v is not None}, key, algorithm=algorithm)


def key_pair():
    """Return a private and a public key in PEM."""
    needs.module("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def test_client_credentials_bring_an_access_token_alone(local_idp):
    """RFC 6749 section 4.4.3: no refresh token, and no cache keeps the answer."""
    answer = ask(local_idp, scope="read write")
    granted = answer.json()
    assert ("Bearer", 3600, "read write") == tuple(granted[k] for k in ("token_type", "expires_in", "scope"))
    assert ("no-store", False) == (answer.headers["Cache-Control"], "refresh_token" in granted)
    assert local_idp.is_active(granted["access_token"])


def test_a_password_brings_a_refresh_token(local_idp):
    """A person who signed in is remembered; a wrong password is invalid_grant."""
    assert local_idp.is_active(sign_in(local_idp)["refresh_token"])
    wrong = ask(local_idp, "password", username="alice", password="looking-glass")
    assert (400, "invalid_grant") == refused(wrong)


@pytest.mark.parametrize(("setting", "expected"), [(False, (False, False)), ({"client_credentials"}, (True, False))])
def test_refresh_tokens_are_issued_where_the_setting_says(setting, expected):
    """`issue_refresh_tokens` is nowhere, or exactly the grants it lists."""
    with LocalIdP(issue_refresh_tokens=setting) as idp:
        assert expected == ("refresh_token" in ask(idp).json(), "refresh_token" in sign_in(idp))


def test_a_refresh_token_is_spent_once(local_idp):
    """With rotation, each answer brings the next refresh token and the same scope."""
    first = sign_in(local_idp, scope="read")
    second = refresh(local_idp, first["refresh_token"]).json()
    assert first["refresh_token"] != second["refresh_token"]
    assert "read" == second["scope"]
    assert 200 == refresh(local_idp, second["refresh_token"]).status_code
    assert 0 == local_idp.reuse_detected


def test_reuse_revokes_the_whole_family(local_idp):
    """A spent refresh token that is shown again takes all that came of the same sign-in with it, and no more."""
    other = sign_in(local_idp)
    first = sign_in(local_idp)
    second = refresh(local_idp, first["refresh_token"]).json()
    assert (400, "invalid_grant") == refused(refresh(local_idp, first["refresh_token"]))
    assert 1 == local_idp.reuse_detected
    family = [*(answer[name] for answer in (first, second) for name in ("access_token", "refresh_token"))]
    assert [False] * 4 == [local_idp.is_active(token) for token in family]
    assert local_idp.is_active(other["access_token"])


def test_without_rotation_a_refresh_token_stays(local_idp):
    """The answer then omits it, and it may be spent again."""
    local_idp.rotate_refresh_tokens = False
    token = sign_in(local_idp)["refresh_token"]
    answers = [refresh(local_idp, token) for _ in range(2)]
    assert [(200, False)] * 2 == [(a.status_code, "refresh_token" in a.json()) for a in answers]


def test_a_refresh_token_may_expire(local_idp):
    """`lifetimes["refresh"]` is told as refresh_expires_in, and an expired one is invalid_grant."""
    local_idp.lifetimes["refresh"] = 90
    assert 90 == sign_in(local_idp)["refresh_expires_in"]
    local_idp.lifetimes["refresh"] = 0
    assert (400, "invalid_grant") == refused(refresh(local_idp, sign_in(local_idp)["refresh_token"]))


def test_a_refresh_token_is_its_clients_own(local_idp):
    """Another client cannot spend it, and an access token is none."""
    local_idp.add_client("other", "secret")
    granted = sign_in(local_idp)
    stolen = ask(local_idp, "refresh_token", ("other", "secret"), refresh_token=granted["refresh_token"])
    mistaken = refresh(local_idp, granted["access_token"])
    assert [(400, "invalid_grant")] * 2 == [refused(stolen), refused(mistaken)]
    assert 200 == refresh(local_idp, granted["refresh_token"]).status_code


def test_a_refresh_narrows_the_scope_but_never_widens_it(local_idp):
    """RFC 6749 section 6; a refusal does not spend the token."""
    token = sign_in(local_idp, scope="read write")["refresh_token"]
    assert (400, "invalid_scope") == refused(refresh(local_idp, token, scope="admin"))
    assert "read" == refresh(local_idp, token, scope="read").json()["scope"]


def test_revoking_a_refresh_token_revokes_what_came_of_it(local_idp):
    """RFC 7009 section 2.1."""
    granted = sign_in(local_idp)
    local_idp.revoke(granted["refresh_token"])
    assert not local_idp.is_active(granted["access_token"])


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
def test_a_secret_is_understood_either_way(local_idp, way):
    """Each part of a Basic header is form-encoded first: RFC 6749 section 2.3.1."""
    local_idp.add_client("a client", "s:e%c+r t")
    if way == "client_secret_basic":
        encoded = base64.b64encode(b"a+client:s%3Ae%25c%2Br+t").decode()
        answer = ask(local_idp, auth=None, headers={"Authorization": f"Basic {encoded}"})
    else:
        answer = ask(local_idp, auth=None, client_id="a client", client_secret="s:e%c+r t")
    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "header", ["Basic !", "Basic bm9jb2xvbg==", "Basic Y2xpZW50Ondyb25n", "Digest Y2xpZW50OnNlY3JldA=="]
)
def test_a_header_that_proves_nothing_is_challenged(local_idp, header):
    """A wrong Authorization header is a 401 with a challenge of the scheme that was meant."""
    answer = ask(local_idp, auth=None, headers={"Authorization": header})
    assert (401, "invalid_client") == refused(answer)
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("form", [{}, {"client_id": "client"}, {"client_id": "client", "client_secret": "no"}])
def test_a_client_that_proves_nothing_is_unknown(local_idp, form):
    """Without a header, invalid_client comes without a challenge."""
    answer = ask(local_idp, auth=None, **form)
    assert (401, "invalid_client", False) == (*refused(answer), "WWW-Authenticate" in answer.headers)


def test_a_public_client_needs_no_secret(local_idp):
    """It signs people in, but has no credentials of its own to use."""
    local_idp.add_client("app")
    form = {"username": "bob", "password": "builder", "client_id": "app"}
    assert 200 == ask(local_idp, "password", None, **form).status_code
    assert (400, "unauthorized_client") == refused(ask(local_idp, auth=None, client_id="app"))


def test_a_client_keeps_to_its_grants_and_scopes(local_idp):
    """Others are unauthorized_client and invalid_scope."""
    local_idp.add_client("limited", "secret", scopes=["read"], grants=["client_credentials"])
    auth = ("limited", "secret")
    assert 200 == ask(local_idp, auth=auth, scope="read").status_code
    assert (400, "invalid_scope") == refused(ask(local_idp, auth=auth, scope="read write"))
    password = ask(local_idp, "password", auth, username="alice", password="wonderland")
    assert (400, "unauthorized_client") == refused(password)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "x"}, "invalid_request"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": ["password", "password"]}, "invalid_request"),
        ({"grant_type": "password", "username": "alice"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "client_credentials", "client_secret": "secret"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_a_malformed_request_is_refused(local_idp, form, error):
    """Missing, repeated and unknown parameters, and two proofs at once, each have their code."""
    answer = requests.post(local_idp.token_url, data=form, auth=("client", "secret"), timeout=10)
    assert (400, error) == refused(answer)


def test_the_token_endpoint_wants_a_form_posted(local_idp):
    """GET is a 405, JSON is no form."""
    get = requests.get(local_idp.token_url, params={"grant_type": "client_credentials"}, timeout=10)
    json = requests.post(local_idp.token_url, json={"grant_type": "client_credentials"}, timeout=10)
    assert [(405, "invalid_request"), (400, "invalid_request")] == [refused(get), refused(json)]
    assert "POST" == get.headers["Allow"]


@pytest.mark.parametrize("way", ["client_secret_jwt", "private_key_jwt"])
def test_a_client_may_sign_an_assertion(local_idp, way):
    """RFC 7523 section 2.2, once: an assertion that is shown again is refused."""
    private, public = key_pair() if way == "private_key_jwt" else (SECRET, None)
    local_idp.add_client("client", None if public else SECRET, key=public)
    signed = assertion(local_idp, private, "ES256" if public else "HS256")
    form = {"client_assertion_type": CLIENT_ASSERTION, "client_assertion": signed}
    assert 200 == ask(local_idp, auth=None, **form).status_code
    assert (401, "invalid_client") == refused(ask(local_idp, auth=None, **form))


@pytest.mark.parametrize(
    "claims",
    [{"aud": "https://other.example"}, {"exp": 1}, {"nbf": 32503680000}, {"jti": None}, {"sub": "x"}, {"iss": "x"}],
    ids=lambda claims: next(iter(claims)),
)
def test_a_client_assertion_must_be_in_order(local_idp, claims):
    """Audience, times, identifier and both names are looked at."""
    local_idp.add_client("client", SECRET)
    form = {"client_assertion_type": CLIENT_ASSERTION, "client_assertion": assertion(local_idp, **claims)}
    assert (401, "invalid_client") == refused(ask(local_idp, auth=None, **form))


@pytest.mark.parametrize(
    "form", [{"client_assertion": "x.y.z", "client_assertion_type": CLIENT_ASSERTION}, {"client_assertion": "x"}]
)
def test_a_client_assertion_must_be_a_jwt(local_idp, form):
    """What does not parse, or has no type, proves nothing."""
    needs.module("jwt")
    assert (401, "invalid_client") == refused(ask(local_idp, auth=None, **form))


def test_an_assertion_of_a_trusted_issuer_is_granted(local_idp):
    """RFC 7523 section 2.1: the token speaks for the subject, and the assertion is used up."""
    private, public = key_pair()
    local_idp.trust_issuer("https://issuer.example", public)
    signed = assertion(local_idp, private, "ES256", iss="https://issuer.example", sub="carol", aud=local_idp.issuer)
    token = ask(local_idp, JWT_BEARER, assertion=signed).json()["access_token"]
    told = requests.post(local_idp.introspect_url, data={"token": token}, auth=("client", "secret"), timeout=10).json()
    assert "carol" == told["sub"]
    assert (400, "invalid_grant") == refused(ask(local_idp, JWT_BEARER, assertion=signed))


def test_an_assertion_must_be_trusted_and_signed(local_idp):
    """An unknown issuer and a foreign key are invalid_grant."""
    local_idp.trust_issuer("known", SECRET)
    for signed in (assertion(local_idp, iss="unknown"), assertion(local_idp, SECRET[::-1], iss="known")):
        assert (400, "invalid_grant") == refused(ask(local_idp, JWT_BEARER, assertion=signed))


def test_a_token_is_exchanged_for_the_same_subject(local_idp):
    """RFC 8693: audience and resource may repeat, and are recorded."""
    subject = local_idp.issue("bob").access_token
    form = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "resource": ["https://a", "https://b"]}
    granted = ask(local_idp, EXCHANGE, **form, audience="c").json()
    token = {"token": granted["access_token"]}
    told = requests.post(local_idp.introspect_url, data=token, auth=("client", "secret"), timeout=10).json()
    assert (ACCESS_TOKEN, "bob", ["c", "https://a", "https://b"]) == (
        granted["issued_token_type"],
        told["sub"],
        told["aud"],
    )


def test_a_foreign_token_is_exchanged_where_its_issuer_is_trusted(local_idp):
    """A JWT of a trusted issuer is as good as a token from here, for subject and actor."""
    local_idp.trust_issuer("ci", SECRET)
    form = {"subject_token": assertion(local_idp, iss="ci"), "subject_token_type": "jwt"}
    actor = {"actor_token": local_idp.issue().access_token, "actor_token_type": ACCESS_TOKEN}
    assert 200 == ask(local_idp, EXCHANGE, **form, **actor).status_code


@pytest.mark.parametrize(
    "wrong",
    [{"subject_token": "x"}, {"subject_token_type": ""}, {"actor_token_type": "x"}, {"actor_token": "x"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_exchange_must_be_in_order(local_idp, wrong):
    """A token that is not valid here, and a type without its token, are invalid_request."""
    form = {"subject_token": local_idp.issue().access_token, "subject_token_type": ACCESS_TOKEN, **wrong}
    assert (400, "invalid_request") == refused(ask(local_idp, EXCHANGE, **form))


def test_an_assertion_may_stand_alone(local_idp):
    """With one, a client need not authenticate (RFC 7523 section 2.1)."""
    local_idp.trust_issuer("robot", SECRET)
    alone = ask(local_idp, JWT_BEARER, auth=None, assertion=assertion(local_idp, iss="robot", sub="alice"))
    assert 200 == alone.status_code
