"""A token that was rejected, invalidated or revoked upstream is replaced, at the cost of the right steps alone."""

from datetime import timedelta
from typing import Any

import pytest
from support.steps import Chain, Step, WatchedStorage, chain, failing_storage

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    PipelineTokenProvider,
    StorageError,
    Token,
    TokenFetchPipeline,
)
from tokenkit.contracts import Challenge, FetchContext
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


def test_what_a_resource_said_reaches_the_steps() -> None:
    """Each that is fetched hears it; whose token is cached is not asked."""
    c = chain()
    provider, challenge = PipelineTokenProvider(c.pipeline, "svc"), Challenge(error="insufficient_claims")
    provider.refresh_token(provider.fetch_token(), FetchContext(challenge=challenge))
    assert [None, challenge] == [context.challenge for context in c.user.asked]
    assert (1, 1, 2) == c.fetches


@pytest.mark.parametrize(
    ("name", "step", "said"), [("", None, "service_name"), (7, None, "service_name"), ("svc", "nobody", "'nobody'")]
)
def test_wrong_arguments_of_a_provider_are_refused(name: Any, step: str | None, said: str) -> None:
    """No name, or an unknown step, is a ConfigurationError before any network."""
    with pytest.raises(ConfigurationError, match=said):
        PipelineTokenProvider(chain().pipeline, name, step)


@pytest.mark.parametrize(("spender", "expected"), [("device", True), ("user", True), (None, False)])
def test_a_provider_spends_a_refresh_token_if_a_step_does(spender: str | None, expected: bool) -> None:
    """A manager's storage may be the only one that is shared, so its lock guards whichever step that is."""
    steps = [Step(name, clock=FakeClock()) for name in ("device", "app", "user")]
    for step in steps:
        step.spends_refresh_token = step.name == spender
    pipeline = TokenFetchPipeline(steps, InMemoryTokenStorage())
    assert expected is PipelineTokenProvider(pipeline, "svc").spends_refresh_token


def test_a_provider_needs_a_pipeline() -> None:
    """Its steps alone are none."""
    with pytest.raises(ConfigurationError, match="TokenFetchPipeline"):
        PipelineTokenProvider([], "svc")  # type: ignore[arg-type]  # on purpose


def test_a_context_whose_time_is_over_is_one_without_time() -> None:
    """Seconds below zero, which a caller has left after a long wait, are no wrong argument."""
    with pytest.raises(AuthenticationError, match="time"):
        PipelineTokenProvider(chain().pipeline, "svc").fetch_token(FetchContext(timeout=-0.5))


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
