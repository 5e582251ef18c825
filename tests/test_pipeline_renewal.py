"""A token that was rejected, invalidated or revoked upstream is replaced, at the cost of the right steps alone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from steps import Chain, Step, WatchedStorage, chain, failing_storage, refusal

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    PipelineTokenProvider,
    StorageError,
    Token,
    TokenEndpointError,
    TokenFetchPipeline,
    TransportError,
)
from tokenkit.contracts import FetchContext
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock


def warm() -> Chain:
    """Return a chain whose three tokens are cached."""
    c = chain()
    c.execute()
    return c


# Invalidation


@pytest.mark.parametrize(("name", "fetches"), [("user", (1, 1, 2)), ("app", (1, 2, 2)), ("device", (2, 2, 2))])
def test_invalidation_cascades(name: str, fetches: tuple[int, int, int]) -> None:
    """A step's token goes with those of all steps that depend on it, and no other."""
    c = warm()
    c.pipeline.invalidate_step(name)
    assert ("user-2", fetches) == (c.execute(), c.fetches)


def test_invalidation_cascades_through_others() -> None:
    """Dependents of dependents count, although they do not name the step themselves; strangers do not."""
    clock = FakeClock()
    steps = [Step("a", clock=clock), Step("x", clock=clock), Step("b", ["a"], clock=clock)]
    steps += [Step("c", ["b"], clock=clock), Step("d", ["c", "x"], clock=clock)]
    pipeline = TokenFetchPipeline(steps, InMemoryTokenStorage(), clock=clock)
    pipeline.execute()
    pipeline.invalidate_step("a")
    pipeline.execute()
    assert [2, 1, 2, 2, 2] == [step.fetches for step in steps]


def test_invalidate_all_forgets_every_step() -> None:
    """Everything is fetched anew."""
    c = warm()
    c.pipeline.invalidate_all()
    assert ("user-2", (2, 2, 2)) == (c.execute(), c.fetches)


def test_an_unknown_step_cannot_be_invalidated() -> None:
    """It is a KeyError that names what there is, and nothing is forgotten."""
    c = warm()
    with pytest.raises(KeyError, match=r"'nobody' among device, app, user"):
        c.pipeline.invalidate_step("nobody")
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)


def test_nothing_cached_is_nothing_to_invalidate() -> None:
    """Invalidating an empty cache does nothing."""
    c = chain()
    c.pipeline.invalidate_step("device")
    c.pipeline.invalidate_all()
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)


def test_invalidation_keeps_a_refresh_token() -> None:
    """An entry with a refresh token is marked expired and not deleted; the next fetch spends what it holds."""
    c = chain()
    c.user.has_refresh_token = True
    c.execute()
    c.pipeline.invalidate_step("app")
    stored = c.storage.get("user")
    assert stored is not None
    assert ("user-refresh-1", True, None) == (
        stored.refresh_token,
        stored.is_expired(c.user.now()),
        c.storage.get("app"),
    )
    assert ("user-2", ["user-refresh-1"]) == (c.execute(), [token.refresh_token for token in c.user.spent])


@pytest.mark.parametrize("issued", [None, 7200.0, -7200.0])
def test_invalidation_holds_whatever_the_issuers_clock_says(issued: float | None) -> None:
    """An entry written by a host whose clock is off, or that does not say when it was issued, is invalidated too."""
    c = chain()
    moment = None if issued is None else c.user.now() + timedelta(seconds=issued)
    until = c.user.now() + timedelta(hours=9)
    c.storage.set("user", Token("other", issued_at=moment, expires_at=until, refresh_token="r"))
    assert "other" == c.execute()
    c.pipeline.invalidate_step("user")
    assert "user-1" == c.execute()


def test_invalidation_spares_a_token_that_it_has_not_seen() -> None:
    """A token that another stores in between is left alone."""
    storage = WatchedStorage()
    c = chain(storage)
    c.execute()
    newer = c.user.token("newer")
    storage.before["delete_if_equal"] = lambda *_: storage.inner.set("user", newer)
    c.pipeline.invalidate_step("user")
    assert "user-newer" == c.execute()


def test_invalidation_says_that_the_storage_failed() -> None:
    """Who invalidates learns that the token may still be there."""
    with pytest.raises(StorageError):
        chain(failing_storage()).pipeline.invalidate_step("user")


# Force


def test_force_fetches_every_step() -> None:
    """force_refresh takes nothing from the cache."""
    c = warm()
    assert ("user-2", (2, 2, 2)) == (c.execute(force_refresh=True), c.fetches)
    assert ("user-2", (2, 2, 2)) == (c.execute(), c.fetches)
    assert {"device": "device-2", "app": "app-2"} == {n: t.access_token for n, t in c.user.asked[1].items()}


def test_force_takes_what_another_fetched_since() -> None:
    """A token that appears in the cache after the call began is as good as one of its own."""
    storage = WatchedStorage()
    c = chain(storage)
    c.execute()
    newer = c.user.token("newer")
    storage.before["lock"] = lambda *_: storage.inner.set("user", newer)
    assert ("user-newer", (1, 1, 1)) == (c.execute(force_refresh=True), c.fetches)


def test_a_source_that_has_nothing_newer_is_believed() -> None:
    """Where a step gives the same token again, that is what comes back."""
    c = warm()
    c.user.script = [c.user.token(1)]
    assert "user-1" == c.execute(force_refresh=True)


# Through the provider


@pytest.mark.parametrize(
    ("from_step", "fetches"),
    [(None, (1, 1, 2)), ("user", (1, 1, 2)), ("app", (1, 2, 2)), ("device", (2, 2, 2))],
)
def test_a_renewal_fetches_exactly_from_its_step(from_step: str | None, fetches: tuple[int, int, int]) -> None:
    """refresh_from_step and its dependents are fetched anew and nothing else; without it, the last step alone."""
    c = warm()
    provider = PipelineTokenProvider(c.pipeline, "svc", from_step)
    current = provider.fetch_token()
    assert ("user-1", (1, 1, 1)) == (current.access_token, c.fetches)
    assert ("user-2", fetches) == (provider.refresh_token(current).access_token, c.fetches)


@pytest.mark.parametrize("from_step", [None, "user", "app", "device"])
def test_a_renewal_takes_another_token_that_is_there(from_step: str | None) -> None:
    """Who brings a token that is no longer the cached one gets the cached one, without a fetch."""
    c = warm()
    provider = PipelineTokenProvider(c.pipeline, "svc", from_step)
    old = provider.fetch_token()
    new = provider.refresh_token(old)
    before = c.fetches
    assert (new, before) == (provider.refresh_token(old), c.fetches)


def test_a_renewal_does_not_go_back_to_an_older_token() -> None:
    """Where the storage failed to take the new token, the old one in it is not taken for another."""
    storage = WatchedStorage()
    c = chain(storage)
    provider = PipelineTokenProvider(c.pipeline, "svc")
    first = provider.fetch_token()
    storage.before["replace"] = failing_storage().before["replace"]
    c.clock.advance(1)
    second = provider.refresh_token(first)
    assert ("user-2", "user-3") == (second.access_token, provider.refresh_token(second).access_token)


def test_a_renewal_fetches_what_is_missing_upstream() -> None:
    """A step before refresh_from_step is fetched if it is no longer valid, as ever."""
    c = chain()
    c.device.lifetime = 60
    token = c.pipeline.execute()
    c.clock.advance(61)
    assert "user-2" == PipelineTokenProvider(c.pipeline, "svc", "user").refresh_token(token).access_token
    assert (2, 1, 2) == c.fetches


def test_a_renewal_of_a_token_that_is_not_cached() -> None:
    """Over an empty cache a renewal fetches every step."""
    c = chain()
    assert ("user-1", (1, 1, 1)) == (c.pipeline.renew(Token("unknown")).access_token, c.fetches)


def test_the_managers_time_limit_reaches_the_steps() -> None:
    """The context that a manager gives, which has no tokens, still has its timeout."""
    c = chain()
    provider = PipelineTokenProvider(c.pipeline, "svc")
    current = provider.fetch_token(FetchContext(timeout=5))
    provider.refresh_token(current, FetchContext(timeout=3))
    assert [5, 3] == [context.timeout for context in c.user.asked]
    with pytest.raises(AuthenticationError, match="time"):
        provider.refresh_token(c.pipeline.execute(), FetchContext(timeout=0))


@pytest.mark.parametrize(("name", "step", "said"), [("", None, "service_name"), ("svc", "nobody", "'nobody'")])
def test_wrong_arguments_of_a_provider_are_refused(name: str, step: str | None, said: str) -> None:
    """No name, or an unknown step, is a ConfigurationError before any network."""
    with pytest.raises(ConfigurationError, match=said):
        PipelineTokenProvider(chain().pipeline, name, step)


def test_renewing_from_an_unknown_step_is_a_key_error() -> None:
    """The pipeline itself says so as for invalidate_step."""
    with pytest.raises(KeyError, match="nobody"):
        chain().pipeline.renew(Token("t"), "nobody")


def test_a_providers_key_is_its_own() -> None:
    """It differs by service, prefix and steps, and is the key of no step."""
    keys = {
        PipelineTokenProvider(pipeline, service).cache_key
        for pipeline in (chain().pipeline, chain(prefix="one").pipeline)
        for service in ("svc", "user")
    }
    clock = FakeClock()
    single = TokenFetchPipeline([Step("user", clock=clock)], InMemoryTokenStorage(), clock=clock)
    keys.add(PipelineTokenProvider(single, "user").cache_key)
    assert 5 == len(keys)
    assert set() == keys & {"device", "app", "user", "one:user", "svc"}
    assert PipelineTokenProvider(chain().pipeline, "svc").cache_key in keys


def test_a_provider_closes_its_pipeline() -> None:
    """Closing it closes the steps."""
    c = chain()
    PipelineTokenProvider(c.pipeline, "svc").close()
    assert 1 == c.user.closed


# Healing


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


@pytest.mark.parametrize("error", [refusal(400), refusal(500), TransportError("no route"), RuntimeError("a bug")])
def test_other_failures_do_not_blame_the_dependencies(error: Exception) -> None:
    """Only 401 and 403 say that a token was refused."""
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
    c.user.script = [refusal(400, "invalid_grant"), refusal(400, "invalid_grant")]
    with pytest.raises(TokenEndpointError) as failure:
        c.execute()
    assert ("user", "invalid_grant", 1, 3) == (
        failure.value.step_name,
        failure.value.error,
        len(c.user.spent),
        c.user.fetches,
    )
