"""What LocalIdP's resource, steps, revocation, introspection and metadata answer."""

import pytest
import requests

from tokenkit.testing import LocalIdP


def bearer(token):
    return {"Authorization": f"Bearer {getattr(token, 'access_token', token)}"}


def walk(idp):
    """Go through the three steps and return what each answered."""
    device = requests.post(idp.url + "/device", json={"device_id": "d-1"}, timeout=10)
    headers = {"X-Device-Token": device.json()["data"]["token"]}
    app = requests.post(idp.url + "/app", headers=headers, timeout=10)
    headers["X-App-Token"] = app.headers["Authorization"].removeprefix("Bearer ")
    form = {"username": "alice", "password": "wonderland"}
    return device, app, requests.post(idp.url + "/user", headers=headers, data=form, timeout=10)


def post(url, **form):
    return requests.post(url, data=form, auth=("client", "secret"), timeout=10)


def test_the_resource_echoes_the_request_without_its_credential(local_idp):
    """A good token gets back what was sent; of the token itself only the fingerprint."""
    token = local_idp.issue()
    answer = requests.put(local_idp.api("a/b?c=d"), data="text", headers=bearer(token) | {"X-Me": "1"}, timeout=10)
    seen = answer.json()
    assert ("PUT", "/api/a/b", "c=d", "text", 4) == tuple(
        seen[name] for name in ("method", "path", "query", "body", "body_length")
    )
    assert ("1", token.fingerprint) == (seen["headers"]["x-me"], seen["token_fingerprint"])
    assert token.access_token not in answer.text


def test_the_resource_reads_a_chunked_body(local_idp):
    """A body from a generator, which has no length, arrives whole."""
    answer = requests.post(
        local_idp.api_url, data=iter([b"one ", b"two"]), headers=bearer(local_idp.issue()), timeout=10
    )
    assert "one two" == answer.json()["body"]


def test_head_is_answered_without_a_body(local_idp):
    """HEAD has the headers of GET and no body."""
    answer = requests.head(local_idp.api_url, headers=bearer(local_idp.issue()), timeout=10)
    assert (200, b"") == (answer.status_code, answer.content)
    assert int(answer.headers["Content-Length"]) > 0


def test_no_credentials_are_challenged_without_an_error_code(local_idp):
    """RFC 6750 section 3.1: the challenge alone."""
    answer = requests.get(local_idp.api_url, timeout=10)
    assert (401, 'Bearer realm="api"') == (answer.status_code, answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize("why", ["unknown", "expired", "revoked"])
def test_a_token_that_is_no_good_is_refused(local_idp, why):
    """The challenge says invalid_token, and why."""
    token = local_idp.issue(lifetime=0 if why == "expired" else 60).access_token
    if why == "revoked":
        local_idp.revoke(token)
    answer = requests.get(local_idp.api_url, headers=bearer("x" if why == "unknown" else token), timeout=10)
    challenge = f'Bearer realm="api", error="invalid_token", error_description="{why}"'
    assert (401, challenge) == (answer.status_code, answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize("kind", ["refresh", "device", "app"])
def test_the_resource_wants_an_access_token(local_idp, kind):
    """A token of another kind is not accepted."""
    assert 401 == requests.get(local_idp.api_url, headers=bearer(local_idp.issue(kind=kind)), timeout=10).status_code


def test_some_resources_misbehave(local_idp):
    """forbidden, always-401, redirect and cookie do what their names say, to a good token."""
    headers = bearer(local_idp.issue())
    forbidden, never, moved, cookie = (
        requests.get(local_idp.api(path), headers=headers, allow_redirects=False, timeout=10)
        for path in ("forbidden", "always-401", "redirect?to=http://localhost/x&status=307", "cookie")
    )
    assert (403, 401, 307, 200) == tuple(a.status_code for a in (forbidden, never, moved, cookie))
    assert 'error="insufficient_scope"' in forbidden.headers["WWW-Authenticate"]
    assert "http://localhost/x" == moved.headers["Location"]
    assert "yes" == cookie.cookies["seen"] == requests.get(local_idp.api("cookie"), timeout=10).cookies["seen"]


def test_three_steps_lead_to_an_access_token(local_idp):
    """Device, app and user build on each other; the last one's token opens the resource."""
    device, app, user = walk(local_idp)
    assert 3600 == device.json()["expires_in"] == user.json()["expires_in"]
    assert ("3600", b"") == (app.headers["X-Expires-In"], app.content)
    assert 200 == requests.get(local_idp.api_url, headers=bearer(user.json()["access_token"]), timeout=10).status_code
    assert {"device", "app", "user"} <= set(local_idp.counts)


def test_each_step_has_a_lifetime_of_its_own(local_idp):
    """`lifetimes` goes before `lifetime`, and None means for ever."""
    local_idp.lifetime = 7.5
    local_idp.lifetimes.update(device=None, app=5)
    device, app, user = walk(local_idp)
    assert "expires_in" not in device.json()
    assert ("5", 7.5) == (app.headers["X-Expires-In"], user.json()["expires_in"])


@pytest.mark.parametrize(
    ("broken", "why"), [("missing", "missing"), ("device", "revoked"), ("app", "revoked"), ("swapped", "unknown")]
)
def test_a_step_wants_its_upstream_tokens(local_idp, broken, why):
    """A token that is missing, revoked or unknown gets a 401 that says which and why."""
    device, app = local_idp.issue(kind="device"), local_idp.issue(kind="app")
    headers = {"X-Device-Token": device.access_token, "X-App-Token": app.access_token}
    if broken in ("device", "app"):
        local_idp.revoke_all(broken)
    elif broken == "missing":
        del headers["X-App-Token"]
    else:
        headers["X-App-Token"] = "foreign"
    form = {"username": "alice", "password": "wonderland"}
    answer = requests.post(local_idp.url + "/user", headers=headers, data=form, timeout=10)
    assert (401, "invalid_token") == (answer.status_code, answer.json()["error"])
    assert answer.json()["error_description"].endswith(why)


def test_a_step_wants_its_parameters(local_idp):
    """No device_id, or a wrong password, is a 400 and not a 401: no upstream token is to blame."""
    device = requests.post(local_idp.url + "/device", json=["no object"], timeout=10)
    headers = {f"X-{kind.title()}-Token": local_idp.issue(kind=kind).access_token for kind in ("device", "app")}
    user = requests.post(local_idp.url + "/user", headers=headers, data={"username": "alice"}, timeout=10)
    assert [(400, "invalid_request"), (400, "invalid_grant")] == [
        (answer.status_code, answer.json()["error"]) for answer in (device, user)
    ]


def test_a_step_reads_its_parameters_from_the_query_too(local_idp):
    """GET with query parameters works, and so does JSON that does not parse: as if it were not there."""
    url = local_idp.url + "/device"
    broken = {"data": "{", "headers": {"Content-Type": "application/json"}}
    assert 200 == requests.get(url, params={"device_id": "d"}, timeout=10).status_code
    assert 400 == requests.post(url, timeout=10, **broken).status_code


def test_revocation_takes_a_token_back(local_idp):
    """RFC 7009: a revoked token is refused, and an unknown one is revoked without complaint."""
    token = local_idp.issue()
    assert local_idp.is_active(token)
    assert [200, 200] == [post(local_idp.revoke_url, token=t).status_code for t in (token.access_token, "unknown")]
    assert not local_idp.is_active(token)


def test_revocation_is_for_the_clients_own_tokens(local_idp):
    """RFC 7009 section 2.1: another client's token is not touched, and a token must be named."""
    token = local_idp.issue(client_id="somebody")
    assert [400, 400] == [
        post(local_idp.revoke_url, **form).status_code for form in ({"token": token.access_token}, {"x": "y"})
    ]
    assert local_idp.is_active(token)


def test_introspection_tells_what_a_token_is(local_idp):
    """RFC 7662: an active token's facts, and of any other only that it is not."""
    token = local_idp.issue("bob", scope="read", lifetime=60)
    told = post(local_idp.introspect_url, token=token.access_token).json()
    assert (True, "read", "client", "bob", "Bearer", 60) == (
        *(told[name] for name in ("active", "scope", "client_id", "sub", "token_type")),
        told["exp"] - told["iat"],
    )
    assert {"active": False} == post(local_idp.introspect_url, token="unknown").json()


@pytest.mark.parametrize("endpoint", ["revoke", "introspect"])
def test_a_client_must_prove_who_it_is(local_idp, endpoint):
    """Revocation and introspection want the client's secret."""
    answer = requests.post(f"{local_idp.url}/{endpoint}", data={"token": "x"}, auth=("client", "wrong"), timeout=10)
    assert (401, "invalid_client") == (answer.status_code, answer.json()["error"])


def test_metadata_names_the_endpoints(local_idp):
    """RFC 8414: the issuer is the URL, under both well-known paths."""
    oauth = requests.get(local_idp.metadata_url, timeout=10).json()
    openid = requests.get(local_idp.url + "/.well-known/openid-configuration", timeout=10).json()
    assert oauth == openid
    assert (local_idp.issuer, local_idp.token_url) == (oauth["issuer"], oauth["token_endpoint"])
    assert "private_key_jwt" in oauth["token_endpoint_auth_methods_supported"]


def test_tokens_can_be_taken_back_without_a_request(local_idp):
    """revoke, revoke_current and revoke_all work on what was issued, by whichever way."""
    first, second, third = (local_idp.issue() for _ in range(3))
    assert local_idp.revoke_current()
    assert local_idp.revoke(first)
    assert [False, True, False] == [local_idp.is_active(token) for token in (first, second, third)]
    assert (1, 0, False, False) == (
        local_idp.revoke_all(),
        local_idp.revoke_all(),
        local_idp.revoke_current(),
        local_idp.revoke(first),
    )


def test_a_token_can_be_issued_for_ever():
    """A lifetime of None at the server gives a token without an expiry."""
    with LocalIdP(lifetime=None) as idp:
        assert idp.issue().expires_at is None
        assert "expires_in" not in post(idp.token_url, grant_type="client_credentials").json()
