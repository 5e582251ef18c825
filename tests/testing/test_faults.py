"""How LocalIdP goes wrong when told to."""

import concurrent.futures
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support import needs

from tokenkit.testing import LocalIdP


def ask(idp, timeout=10, **form):
    form = form or {"grant_type": "client_credentials"}
    return requests.post(idp.token_url, data=form, auth=("client", "secret"), timeout=timeout, allow_redirects=False)


def test_a_failure_befalls_as_many_requests_as_it_should(local_idp):
    """Failures line up, each for its number of requests, and then all is well."""
    local_idp.fail("token", status=500, times=2)
    local_idp.fail("token", status=429, retry_after=7)
    answers = [ask(local_idp) for _ in range(4)]
    assert [500, 500, 429, 200] == [answer.status_code for answer in answers]
    assert "7" == answers[2].headers["Retry-After"]
    assert b"" == answers[0].content


def test_a_failure_without_end_ends_when_healed(local_idp):
    """times=None lasts until heal(), which may name an endpoint or mean all."""
    local_idp.fail("token", times=None)
    local_idp.fail("api", times=None)
    assert [503] * 3 == [ask(local_idp).status_code for _ in range(3)]
    local_idp.heal("token")
    assert (200, 503) == (ask(local_idp).status_code, requests.get(local_idp.api_url, timeout=10).status_code)
    local_idp.heal()
    assert 401 == requests.get(local_idp.api_url, timeout=10).status_code


def test_a_failure_may_befall_one_grant_or_path(local_idp):
    """What is named below an endpoint fails alone."""
    local_idp.fail("token:password", status=400, body={"error": "invalid_grant"})
    local_idp.fail("api:orders", status=418)
    assert [200, 401] == [ask(local_idp).status_code, requests.get(local_idp.api("x"), timeout=10).status_code]
    assert "invalid_grant" == ask(local_idp, grant_type="password").json()["error"]
    assert 418 == requests.get(local_idp.api("orders"), timeout=10).status_code


@pytest.mark.parametrize(
    ("options", "status", "content"),
    [
        ({"kind": "empty"}, 200, b""),
        ({"kind": "html"}, 200, b"<!doctype html>"),
        ({"kind": "html", "status": 502}, 502, b"<!doctype html>"),
        ({"kind": "redirect"}, 302, b""),
        ({"status": 200, "body": "[1]"}, 200, b"[1]"),
        ({"status": 200, "body": b"\xff"}, 200, b"\xff"),
        ({"kind": "chunked", "status": 401, "body": "in chunks"}, 401, b"in chunks"),
        ({"kind": "chunked", "status": 401}, 401, b""),
    ],
)
def test_an_answer_can_be_anything(local_idp, options, status, content):
    """Status, body and headers are the kind's, or those that are given; the request has no effect."""
    local_idp.fail("token", **options, headers={"X-Marked": "yes"})
    answer = ask(local_idp)
    assert (status, "yes") == (answer.status_code, answer.headers["X-Marked"])
    assert answer.content.startswith(content)
    assert 0 == local_idp.revoke_all()


def test_a_redirect_leads_where_it_is_told(local_idp):
    """The Location is /api/ unless a header says otherwise."""
    local_idp.fail("token", kind="redirect")
    local_idp.fail("token", kind="redirect", status=307, headers={"Location": "http://localhost/"})
    answers = [ask(local_idp) for _ in range(2)]
    assert [(302, "/api/"), (307, "http://localhost/")] == [(a.status_code, a.headers["Location"]) for a in answers]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", requests.ConnectionError),
        ("close", requests.ConnectionError),
        ("garbage", requests.ConnectionError),
        ("truncate", requests.exceptions.ChunkedEncodingError),
        ("gzip", requests.exceptions.ContentDecodingError),
    ],
)
def test_a_broken_answer_is_an_error_of_requests(local_idp, kind, error):
    """What cannot be read is told apart by how it broke, and the next request succeeds."""
    local_idp.fail("token", kind=kind)
    with pytest.raises(error):
        ask(local_idp)
    assert 200 == ask(local_idp).status_code


def test_an_answer_cut_in_its_headers_looks_empty(local_idp):
    """urllib3 makes do with the headers that came, so that requests sees a 200 without a body."""
    local_idp.fail("token", kind="truncate_headers")
    answer = ask(local_idp)
    assert (200, b"") == (answer.status_code, answer.content)


@pytest.mark.parametrize(("processed", "expected"), [(False, 0), (True, 1)])
def test_an_answer_may_be_lost_after_the_request_took_effect(local_idp, processed, expected):
    """With `processed`, the token was issued although nobody heard of it."""
    local_idp.fail("token", kind="reset", processed=processed)
    with pytest.raises(requests.ConnectionError):
        ask(local_idp)
    assert expected == local_idp.revoke_all()


def test_a_hanging_request_is_answered_when_healed(local_idp):
    """The answer comes late, and is a good one."""
    local_idp.fail("token", kind="hang")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, local_idp)
        local_idp.wait_for_requests("token")
        assert 200 == ask(local_idp).status_code
        assert not answer.done()
        local_idp.heal()
        assert 200 == answer.result().status_code


def test_a_hanging_request_is_cut_off_by_stop():
    """stop() does not wait for what hangs, and the client hears of it."""
    with LocalIdP() as idp, ThreadPoolExecutor(1) as pool:
        idp.fail("token", kind="hang")
        answer = pool.submit(ask, idp)
        idp.wait_for_requests("token")
        idp.stop()
        assert isinstance(answer.exception(), requests.ConnectionError)


def test_an_answer_without_a_body_has_no_length(local_idp):
    """204 says that there is none (RFC 9110 section 8.6)."""
    local_idp.fail("token", status=204)
    answer = ask(local_idp)
    assert (204, False) == (answer.status_code, "Content-Length" in answer.headers)


def test_a_dripping_answer_outlives_a_limit_per_read(local_idp):
    """Every byte is in time, the whole is not; when healed, the rest comes at once."""
    local_idp.fail("token", kind="drip")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, local_idp, timeout=1)
        with pytest.raises(concurrent.futures.TimeoutError):
            answer.result(1.5)
        local_idp.heal()
        assert 200 == answer.result().status_code
    assert "access_token" in answer.result().json()


def test_an_endless_answer_goes_on_until_nobody_reads(local_idp):
    """Megabytes come, and more would; hanging up ends it."""
    local_idp.fail("api", kind="endless", status=401)
    with requests.get(local_idp.api_url, stream=True, timeout=10) as answer:
        chunks = answer.iter_content(65536)
        assert 2**21 == sum(len(next(chunks)) for _ in range(32))
    assert 401 == answer.status_code


def test_an_endless_answer_ends_when_healed(local_idp):
    """Healing breaks it off in the middle, as a server that crashed."""
    local_idp.fail("api", kind="endless")
    with requests.get(local_idp.api_url, stream=True, timeout=10) as answer:
        local_idp.heal("api")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = answer.content


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [("tokens", {}), ("token", {"kind": "explode"}), ("token", {"kind": "reset", "status": 500})],
)
def test_a_failure_that_cannot_be_is_an_error(local_idp, endpoint, options):
    """An unknown endpoint or kind, and an answer that nobody would see, are ValueErrors."""
    with pytest.raises(ValueError):
        local_idp.fail(endpoint, **options)


def test_what_the_server_cannot_do_is_a_500(local_idp, monkeypatch):
    """A fault in a test's own set-up, here that PyJWT is missing, shows in the answer instead of on stderr."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    answer = ask(local_idp, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion="x.y.z")
    assert (500, "ModuleNotFoundError") == (answer.status_code, answer.json()["error_description"])


def test_https_works_and_is_verified(tmp_path):
    """With a certificate of its own, the server is trusted by who is given it, and by nobody else."""
    needs.module("cryptography")
    from tokenkit.testing.certificates import self_signed

    context, trusted = self_signed(tmp_path)
    with LocalIdP(tls=context) as idp, LocalIdP(tls=context, host="localhost") as other:
        assert idp.url.startswith("https://127.0.0.1:")
        for url in (idp.metadata_url, other.metadata_url):
            assert 200 == requests.get(url, verify=str(trusted), timeout=10).status_code
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(idp.metadata_url, timeout=10)
