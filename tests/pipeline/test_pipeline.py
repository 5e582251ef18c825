"""Steps are fetched by need, from the last one back, and cached each for its own time."""

from datetime import timedelta
from typing import Any

import pytest
from support.steps import Step, WatchedStorage, chain

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    Token,
    TokenFetchPipeline,
)
from tokenkit.fetchers import CallableTokenFetcher, StaticTokenFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock


def test_each_step_is_fetched_once_and_the_last_ones_token_returned() -> None:
    """An empty cache costs one fetch of each step."""
    c = chain()
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)


def test_a_cached_token_costs_nothing() -> None:
    """While the last step's token is cached and valid, nothing is fetched, and nothing but it is read."""
    storage = WatchedStorage()
    c = chain(storage)
    c.execute()
    storage.calls.clear()
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)
    assert {"get": 1} == storage.calls


@pytest.mark.parametrize(
    ("expired", "fetches"),
    [
        (["user"], (1, 1, 2)),
        (["app", "user"], (1, 2, 2)),
        (["device", "user"], (2, 1, 2)),
        (["device", "app", "user"], (2, 2, 2)),
        (["device", "app"], (1, 1, 1)),
    ],
)
def test_only_what_is_missing_is_fetched(expired: list[str], fetches: tuple[int, int, int]) -> None:
    """A step whose token is cached and valid never causes its dependencies to be fetched."""
    c = chain()
    for name in expired:
        c.pipeline.get_step(name).lifetime = 60
    c.execute()
    c.clock.advance(60)
    c.execute()
    assert fetches == c.fetches


def test_a_step_gets_the_tokens_that_it_depends_on() -> None:
    """The context holds the tokens of exactly those steps that depends_on names."""
    c = chain()
    c.execute()
    seen = [{name: token.access_token for name, token in step.asked[0].items()} for step in (c.device, c.app, c.user)]
    assert [{}, {"device": "device-1"}, {"device": "device-1", "app": "app-1"}] == seen


def test_an_undeclared_dependency_is_a_key_error_that_says_so() -> None:
    """A step that reads a token which it does not depend on fails, with a hint at depends_on, before any network."""
    clock = FakeClock()
    user = CallableTokenFetcher(lambda context: context["device"], name="user")
    pipeline = TokenFetchPipeline([Step("device", clock=clock), user], InMemoryTokenStorage(), clock=clock)
    with pytest.raises(AuthenticationError) as failure:
        pipeline.execute()
    assert isinstance(failure.value.__cause__, KeyError)
    assert "device" in str(failure.value.__cause__)
    assert "depends_on" in str(failure.value.__cause__)
    assert "user" == failure.value.step_name


def test_a_step_that_nothing_needs_is_not_fetched() -> None:
    """Steps that the last one does not depend on are left alone."""
    clock = FakeClock()
    idle, last = Step("idle", clock=clock), Step("last", clock=clock)
    assert "last-1" == TokenFetchPipeline([idle, last], InMemoryTokenStorage(), clock=clock).execute().access_token
    assert 0 == idle.fetches


def test_one_step_is_a_pipeline() -> None:
    """A pipeline of one step is as good as any; the step may come from an iterator."""
    pipeline = TokenFetchPipeline(iter([StaticTokenFetcher("abc")]), InMemoryTokenStorage())
    assert "abc" == pipeline.execute().access_token


# Lifetimes


@pytest.mark.parametrize(("age", "fetches"), [(4.7, 1), (4.8, 2)])
def test_a_lifetime_shorter_than_any_margin_works(age: float, fetches: int) -> None:
    """A token of 5 seconds is reused until a twentieth of them is left."""
    c = chain()
    c.user.lifetime = 5
    c.execute()
    c.clock.advance(age)
    c.execute()
    assert (1, 1, fetches) == c.fetches


def test_a_dependency_of_moments_is_used_right_after_its_fetch() -> None:
    """A token that lives for half a second is good for the next step."""
    c = chain()
    c.device.lifetime = 0.5
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)


def test_a_ttl_overrides_the_tokens_lifetime() -> None:
    """A step's ttl counts for the cache, in place of what the answer says."""
    c = chain()
    c.user.ttl = timedelta(seconds=100)
    assert c.user.now() + timedelta(seconds=100) == c.pipeline.execute().expires_at
    c.clock.advance(94)
    c.execute()
    assert 1 == c.user.fetches
    c.clock.advance(2)
    c.execute()
    assert (1, 1, 2) == c.fetches


def test_a_ttl_gives_a_lifetime_to_a_token_without_one() -> None:
    """A token that says nothing of its time, nor of its issue, is cached for the ttl."""
    clock = FakeClock()
    step = Step("only", clock=clock, ttl=timedelta(minutes=1))
    step.script = [Token("timeless")]
    pipeline = TokenFetchPipeline([step], InMemoryTokenStorage(), clock=clock)
    assert step.now() + timedelta(minutes=1) == pipeline.execute().expires_at


def test_a_token_without_expiry_is_cached_for_ever() -> None:
    """No lifetime and no ttl: fetched once."""
    c = chain()
    c.user.lifetime = None
    c.execute()
    c.clock.advance(1e9)
    assert ("user-1", 1) == (c.execute(), c.user.fetches)


def test_a_dependency_that_expires_meanwhile_is_fetched_again_first() -> None:
    """While the app step takes its time the device token expires; the user step sees a new one."""
    c = chain()
    c.device.lifetime = 30
    c.app.script = [lambda: c.clock.advance(31)]
    assert ("user-1", (2, 1, 1)) == (c.execute(), c.fetches)
    assert "device-2" == c.user.asked[0]["device"].access_token


def test_a_cached_dependency_that_expires_meanwhile_is_fetched_again_first() -> None:
    """The same where the token that expires came from the cache."""
    c = chain()
    c.device.lifetime, c.app.lifetime, c.user.lifetime = 30, 10, 10
    c.execute()
    c.clock.advance(20)
    c.app.script = [lambda: c.clock.advance(15)]
    assert ("user-2", (2, 2, 2)) == (c.execute(), c.fetches)
    assert ("device-1", "device-2") == tuple(step.asked[1]["device"].access_token for step in (c.app, c.user))


def test_tokens_that_expire_faster_than_they_arrive_end_the_attempt() -> None:
    """Where a dependency is never alive when it is there, the step makes do with it after some rounds."""
    c = chain()
    c.device.lifetime = 1

    def late() -> Token:
        token = c.device.token("late")
        c.clock.advance(2)
        return token

    c.device.script = [late] * 20
    assert ("user-1", "device-late") == (c.execute(), c.user.asked[0]["device"].access_token)
    assert 1 == c.app.fetches
    assert c.device.fetches <= 8


# Names and keys


def test_steps_are_found_by_name() -> None:
    """get_step gives the step itself, or None."""
    c = chain()
    assert c.app is c.pipeline.get_step("app")
    assert c.pipeline.get_step("nobody") is None
    assert ("device", "app", "user") == c.pipeline.step_names
    assert "<TokenFetchPipeline of 3 steps>" == repr(c.pipeline)


@pytest.mark.parametrize(("prefix", "key"), [("", "app"), ("tenant", "tenant:app")])
def test_a_steps_key_has_the_prefix_before_it(prefix: str, key: str) -> None:
    """A step's token is cached under prefix:step, or under the step alone."""
    c = chain(prefix=prefix)
    c.execute()
    stored = c.storage.get(key)
    assert stored is not None
    assert "app-1" == stored.access_token


def test_two_prefixes_do_not_mix() -> None:
    """Two pipelines over one storage with different prefixes share nothing; with the same one, everything."""
    storage = InMemoryTokenStorage()
    one, other, same = chain(storage, "one"), chain(storage, "other"), chain(storage, "one")
    one.execute()
    other.execute()
    assert ("user-1", (1, 1, 1), (1, 1, 1)) == (same.execute(), one.fetches, other.fetches)
    assert (0, 0, 0) == same.fetches
    one.pipeline.invalidate_all()
    other.execute()
    assert (1, 1, 1) == other.fetches


def test_a_pipelines_key_tells_it_from_others() -> None:
    """The key depends on the prefix, the steps and their order, wherever the borders between names lie."""

    def key(prefix: str, *names: str) -> str:
        steps = [Step(name, clock=FakeClock()) for name in names]
        return TokenFetchPipeline(steps, InMemoryTokenStorage(), prefix).cache_key

    pipelines = [("", "a", "b"), ("", "b", "a"), ("a", "b"), ("", "ab"), ("", "a"), ("ab", "c"), ("a", "bc")]
    assert len(pipelines) == len({key(*parts) for parts in pipelines})
    assert key("", "a", "b") == key("", "a", "b")


# Arguments and end


@pytest.mark.parametrize(
    ("storage", "options", "said"),
    [
        (None, {}, "TokenStorage"),
        ({}, {}, "TokenStorage"),
        (InMemoryTokenStorage(), {"lock_timeout": -1}, "lock_timeout"),
        (InMemoryTokenStorage(), {"lock_timeout": float("nan")}, "lock_timeout"),
        (InMemoryTokenStorage(), {"cache_key_prefix": None}, "cache_key_prefix"),
    ],
)
def test_wrong_arguments_are_refused(storage: Any, options: dict[str, Any], said: str) -> None:
    """What is no storage, or no time, is a ConfigurationError and not a pipeline that never caches."""
    with pytest.raises(ConfigurationError, match=said):
        TokenFetchPipeline([StaticTokenFetcher("abc")], storage, **options)


def test_steps_must_be_several() -> None:
    """What is no collection of steps is a ConfigurationError too."""
    with pytest.raises(ConfigurationError, match="steps"):
        TokenFetchPipeline(None, InMemoryTokenStorage())  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("timeout", [-1, "5", True, float("nan"), timedelta(seconds=-1)])
def test_a_wrong_time_limit_is_refused(timeout: Any) -> None:
    """The error names it, and nothing is fetched."""
    pipeline = TokenFetchPipeline([StaticTokenFetcher("abc")], InMemoryTokenStorage())
    with pytest.raises(ConfigurationError, match="timeout"):
        pipeline.execute(timeout=timeout)


def test_close_closes_steps_and_storage() -> None:
    """All are closed, and a pipeline may be closed twice."""
    storage = WatchedStorage()
    c = chain(storage)
    c.pipeline.close()
    c.pipeline.close()
    assert [2] * 4 == [c.device.closed, c.app.closed, c.user.closed, storage.closed]


def test_a_step_that_fails_to_close_does_not_keep_others_open() -> None:
    """The rest is closed all the same, and the failure is heard."""

    def fail() -> None:
        raise OSError("stuck")

    storage = WatchedStorage()
    c = chain(storage)
    c.device.close = fail  # type: ignore[method-assign]  # as a careless subclass would
    with pytest.raises(OSError, match="stuck"):
        c.pipeline.close()
    assert [1] * 3 == [c.app.closed, c.user.closed, storage.closed]
