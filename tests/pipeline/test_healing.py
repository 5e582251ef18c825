"""What was revoked early heals itself: a token of an earlier step, or a refresh token that another rotated."""

from dataclasses import replace

import pytest
import requests
from support.steps import Chain, Step, WatchedStorage, chain, failing_storage, refusal

from tokenkit import (
    AuthenticationError,
    TokenEndpointError,
    TokenFetchPipeline,
    TransportError,
)
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock


def warm() -> Chain:
    """Return a chain whose three tokens are cached."""
    c = chain()
    c.execute()
    return c


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_revoked_upstream_heals_itself(status: int) -> None:
    """A refused step has its cached dependencies fetched anew and is tried once more."""
    c = warm()
    c.pipeline.invalidate_step("user")
    c.user.script = [refusal(status)]
    assert ("user-3", (2, 2, 3)) == (c.execute(), c.fetches)
    assert [{"device": f"device-{n}", "app": f"app-{n}"} for n in (1, 1, 2)] == [
        {name: token.access_token for name, token in context.items()} for context in c.user.asked
    ]


def test_a_step_of_ones_own_heals_with_the_exception_of_requests() -> None:
    """A step that calls raise_for_status() answers 401 or 403 as well as one that knows our errors."""
    c = warm()
    c.pipeline.invalidate_step("user")
    response = requests.Response()
    response.status_code = 401
    c.user.script = [requests.HTTPError(response=response)]
    assert ("user-3", (2, 2, 3)) == (c.execute(), c.fetches)


def test_healing_happens_once() -> None:
    """A step that is refused again with new dependencies has failed."""
    c = warm()
    c.pipeline.invalidate_step("user")
    c.user.script = [refusal(), refusal()]
    with pytest.raises(TokenEndpointError) as failure:
        c.execute()
    assert ("user", 401, (2, 2, 3)) == (failure.value.step_name, failure.value.status, c.fetches)


def test_new_dependencies_are_not_to_blame() -> None:
    """A step that is refused with dependencies of this very run has failed at once."""
    c = chain()
    c.user.script = [refusal()]
    with pytest.raises(TokenEndpointError):
        c.execute()
    assert (1, 1, 1) == c.fetches


@pytest.mark.parametrize("word", ["invalid_request", "invalid_grant", "invalid_token"])
def test_a_400_below_an_exchange_or_an_assertion_heals(word: str) -> None:
    """An upstream token that is revoked is said so by 400 (RFC 8693 section 2.2.2, RFC 7521 section 4.1.1)."""
    c = warm()
    c.pipeline.invalidate_step("user")
    c.user.script = [refusal(400, word)]
    assert "user-3" == c.execute()
    assert (2, 2, 3) == c.fetches


def wrong_password() -> TokenEndpointError:
    error = refusal(400, "invalid_grant")
    error.grant_type = "password"
    return error


OTHERS = [
    *(refusal(400, None), refusal(400, "unsupported_grant_type"), refusal(500), wrong_password()),
    *(refusal(401, "invalid_client"), refusal(403, "invalid_scope"), TransportError("no route"), RuntimeError("a bug")),
]


@pytest.mark.parametrize("error", OTHERS)
def test_other_failures_do_not_blame_the_dependencies(error: Exception) -> None:
    """Neither what passes, nor what no other token would change, nor a wrong password, which might lock an account."""
    c = warm()
    c.pipeline.invalidate_step("user")
    c.user.script = [error]
    with pytest.raises(AuthenticationError):
        c.execute()
    assert (1, 1, 2) == c.fetches


def test_a_dependencys_own_failure_does_not_heal() -> None:
    """The 401 of an earlier step, which depends on nothing, is not taken for one of the step that needs it."""
    c = warm()
    c.pipeline.invalidate_step("device")
    c.storage.set("app", c.app.token("cached"))
    c.device.script = [refusal()]
    with pytest.raises(TokenEndpointError) as failure:
        c.execute()
    assert ("device", (2, 1, 1)) == (failure.value.step_name, c.fetches)


def test_the_failure_of_one_dependency_does_not_blame_another() -> None:
    """A step whose one dependency failed with 401 keeps the other, cached one."""
    clock = FakeClock()
    device, app = Step("device", clock=clock), Step("app", clock=clock)
    user = Step("user", ["device", "app"], clock=clock)
    pipeline = TokenFetchPipeline([device, app, user], InMemoryTokenStorage(), clock=clock)
    pipeline.execute()
    pipeline.invalidate_step("app")
    app.script = [refusal()]
    with pytest.raises(TokenEndpointError) as failure:
        pipeline.execute()
    assert ("app", 1, 2, 1) == (failure.value.step_name, device.fetches, app.fetches, user.fetches)


def test_healing_spares_what_the_refused_step_did_not_use() -> None:
    """Another step that was made of the suspect, but not sent, keeps its token."""
    clock = FakeClock()
    device, beside = Step("device", clock=clock), Step("beside", ["device"], clock=clock)
    app, user = Step("app", ["device"], clock=clock), Step("user", ["app", "beside"], clock=clock)
    pipeline = TokenFetchPipeline([device, beside, app, user], InMemoryTokenStorage(), clock=clock)
    pipeline.execute()
    pipeline.invalidate_step("app")
    app.revoked = {"device-1"}
    pipeline.execute()
    assert [2, 1, 3, 2] == [step.fetches for step in (device, beside, app, user)]


def test_a_token_taken_over_from_another_may_be_to_blame() -> None:
    """A dependency that another fetched while this call waited for the lock counts as cached."""
    storage = WatchedStorage()
    c = chain(storage)
    c.revoke("device-theirs")

    def fetched_by_another(key: str, _timeout: float) -> None:
        if key == "device" and not c.device.fetches and not storage.inner.exists("device"):
            storage.inner.set(key, c.device.token("theirs"))

    storage.before["lock"] = fetched_by_another
    assert ("user-1", (1, 2, 1)) == (c.execute(), c.fetches)


def test_healing_reaches_up_the_chain() -> None:
    """A revoked device token takes the app token with it: each step heals the one before."""
    clock = FakeClock()
    device, app = Step("device", clock=clock), Step("app", ["device"], clock=clock)
    user = Step("user", ["app"], clock=clock)
    pipeline = TokenFetchPipeline([device, app, user], InMemoryTokenStorage(), clock=clock)
    pipeline.execute()
    pipeline.invalidate_step("user")
    app.revoked, user.revoked = {"device-1"}, {"app-1"}
    assert "user-3" == pipeline.execute().access_token
    assert (2, 3, 3) == (device.fetches, app.fetches, user.fetches)


def test_healing_takes_what_was_made_of_a_suspect_too() -> None:
    """A token of this run that was bought with the revoked one is fetched again as well."""
    c = warm()
    c.pipeline.invalidate_step("app")
    c.user.revoked = {"device-1"}
    assert ("user-3", (2, 3, 3)) == (c.execute(), c.fetches)
    assert "device-2" == c.app.asked[-1]["device"].access_token


def test_healing_takes_what_another_has_healed() -> None:
    """A dependency that somebody else has renewed meanwhile is not renewed again."""
    storage = WatchedStorage()
    c = chain(storage)
    c.execute()
    c.pipeline.invalidate_step("user")

    def refuse() -> Exception:
        storage.inner.set("device", c.device.token("theirs"))
        storage.inner.set("app", c.app.token("theirs"))
        return refusal()

    c.user.script = [refuse]
    assert ("user-3", (1, 1, 3)) == (c.execute(), c.fetches)
    assert "app-theirs" == c.user.asked[-1]["app"].access_token


def test_a_failed_healing_names_the_step_that_failed() -> None:
    """Where the dependency cannot be had anew, its failure is what the caller hears; the next call heals."""
    c = warm()
    c.pipeline.invalidate_step("user")
    c.revoke("device-1")
    c.device.script = [TransportError("no route")]
    with pytest.raises(TransportError) as failure:
        c.execute()
    assert "device" == failure.value.step_name
    assert "user-4" == c.execute()
    assert 3 == c.device.fetches


# Refresh tokens


def rotating() -> Chain:
    """Return a chain whose cached user token has a refresh token and is expired."""
    c = chain()
    c.user.has_refresh_token = True
    c.user.lifetime = 60
    c.execute()
    c.clock.advance(60)
    return c


def test_an_expired_token_is_renewed_by_its_refresh_token() -> None:
    """The step is asked to refresh the token that it gave, with its dependencies at hand."""
    c = rotating()
    assert ("user-2", ["user-1"]) == (c.execute(), [token.access_token for token in c.user.spent])
    assert {"device", "app"} == set(c.user.asked[1])


def test_a_refresh_token_that_only_the_caller_has_is_spent() -> None:
    """Where the storage has lost the token, the one that is to be renewed brings its refresh token."""
    c = chain(failing_storage())
    c.user.has_refresh_token = True
    c.pipeline.renew(c.pipeline.execute())
    assert ["user-refresh-1"] == [token.refresh_token for token in c.user.spent]


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_refresh_token_is_not_shown_again(status: int) -> None:
    """invalid_grant leads to a full fetch at once, and what that gives is stored."""
    c = rotating()
    c.user.script = [refusal(status, "invalid_grant")]
    assert ("user-3", ["user-1"]) == (c.execute(), [token.access_token for token in c.user.spent])
    stored = c.storage.get("user")
    assert stored is not None
    assert ("user-refresh-3", (1, 1, 3)) == (stored.refresh_token, c.fetches)


def test_a_refresh_token_that_another_rotated_is_spent() -> None:
    """invalid_grant, and the storage has another refresh token by now: that one is spent and its token stored."""
    c = rotating()

    def rotated() -> Exception:
        theirs = replace(c.user.token("theirs"), expires_at=c.user.now())
        c.storage.set("user", theirs)
        return refusal(400, "invalid_grant")

    c.user.script = [rotated]
    assert "user-3" == c.execute()
    assert ["user-refresh-1", "user-refresh-theirs"] == [token.refresh_token for token in c.user.spent]
    stored = c.storage.get("user")
    assert stored is not None
    assert "user-3" == stored.access_token


def test_a_full_fetch_may_be_refused_for_good() -> None:
    """invalid_grant of the full grant, say of a changed password, is what the caller hears, after one try."""
    c = rotating()
    c.user.script = [refusal(400, "invalid_grant"), wrong_password()]
    with pytest.raises(TokenEndpointError) as failure:
        c.execute()
    assert ("user", "invalid_grant", 1, 3) == (
        failure.value.step_name,
        failure.value.error,
        len(c.user.spent),
        c.user.fetches,
    )
