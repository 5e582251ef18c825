import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.exceptions import ConnectionError as NoConnection

from tokenkit.errors import AuthenticationError, ConfigurationError, TokenEndpointError, TransportError
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
SECOND, HOUR, DAY = 1.0, 3600.0, 86400.0


def _token(lifetime: float, age: float = 0.0, **fields: Any) -> Token:
    issued = NOW - timedelta(seconds=age)
    return Token("t0ken", issued_at=issued, expires_at=issued + timedelta(seconds=lifetime), **fields)


@pytest.mark.parametrize(("draw", "due_in"), [(0.0, 0.8 * HOUR), (0.5, 0.75 * HOUR), (1.0, 0.7 * HOUR)])
def test_due_moment_is_drawn(draw: float, due_in: float) -> None:
    """A token is due at 0.8 of its lifetime, less up to a tenth of it by chance."""
    window = RefreshPolicy().window(_token(HOUR), NOW, draw=lambda: draw)
    assert pytest.approx(due_in) == window.due_in
    assert pytest.approx(HOUR - 10) == window.usable_for


@pytest.mark.parametrize(
    ("lifetime", "margin"), [(DAY, 10), (HOUR, 10), (201, 10), (200, 10), (100, 5), (5, 0.25), (0.5, 0.025)]
)
def test_margin_scales(lifetime: float, margin: float) -> None:
    """The expiry margin is ten seconds, but never more than a twentieth of the lifetime."""
    policy = RefreshPolicy()
    assert pytest.approx(lifetime - margin) == policy.window(_token(lifetime), NOW).usable_for
    assert policy.is_usable(_token(lifetime, age=lifetime - margin - 0.01), NOW)
    assert not policy.is_usable(_token(lifetime, age=lifetime - margin + 0.01), NOW)


@pytest.mark.parametrize("lifetime", [5, 60, HOUR, DAY])
@pytest.mark.parametrize("draw", [0.0, 1.0])
@pytest.mark.parametrize(
    "policy",
    [
        RefreshPolicy(),
        RefreshPolicy(lifetime_safe_fraction=1, jitter=0),
        RefreshPolicy(lifetime_safe_fraction=1, jitter=0, expiry_margin=0),
        RefreshPolicy(lifetime_safe_fraction=1, jitter=0, expiry_margin=1e9),
        RefreshPolicy(lifetime_safe_fraction=0.02, jitter=0.01),
    ],
)
def test_there_is_always_a_due_window(policy: RefreshPolicy, draw: float, lifetime: float) -> None:
    """A new token is first fresh, then due, then expired, whatever the policy: renewal always gets its chance."""
    due_in, usable_for = policy.window(_token(lifetime), NOW, draw=lambda: draw)
    assert 0 < due_in < usable_for <= lifetime
    assert min(SECOND, lifetime / 20) - 1e-6 <= usable_for - due_in


@settings(deadline=None, max_examples=200, database=None)
@given(
    lifetime=st.floats(0.001, 1e9),
    age=st.floats(0, 1e9),
    fraction=st.floats(0.01, 1),
    jitter=st.floats(0, 1),
    margin=st.floats(0, 1e6),
    draw=st.floats(0, 1),
)
def test_windows_are_in_order(
    lifetime: float, age: float, fraction: float, jitter: float, margin: float, draw: float
) -> None:
    """Due comes before expired for every policy, token and draw, and a token is usable exactly while it is."""
    policy = RefreshPolicy(lifetime_safe_fraction=fraction, jitter=jitter * fraction * 0.99, expiry_margin=margin)
    token = _token(lifetime, age)
    window = policy.window(token, NOW, draw=lambda: draw)
    assert window.due_in < window.usable_for <= token.expires_in(NOW)
    assert policy.is_usable(token, NOW) == (window.usable_for > 0)


def test_a_token_that_was_issued_long_ago() -> None:
    """What counts is the whole lifetime, not the rest that is left when a token is found in a storage."""
    window = RefreshPolicy(jitter=0).window(_token(HOUR, age=2640), NOW)
    assert pytest.approx(240) == window.due_in
    assert pytest.approx(950) == window.usable_for
    late = RefreshPolicy(jitter=0).window(_token(HOUR, age=3000), NOW)
    assert late.due_in < 0 < late.usable_for


def test_an_expired_token() -> None:
    """A token past its expiry is neither fresh nor usable."""
    token = _token(HOUR, age=2 * HOUR)
    assert max(RefreshPolicy().window(token, NOW)) < 0
    assert not RefreshPolicy().is_usable(token, NOW)


@pytest.mark.parametrize("left", [HOUR, -HOUR])
def test_unknown_issue(left: float) -> None:
    """Where the issue is unknown, the lifetime is what is left now."""
    token = Token("t0ken", expires_at=NOW + timedelta(seconds=left))
    window = RefreshPolicy(jitter=0).window(token, NOW)
    assert (left > 0) == (window.due_in > 0) == (window.usable_for > 0) == RefreshPolicy().is_usable(token, NOW)
    assert left < 0 or pytest.approx(0.8 * HOUR) == window.due_in


def test_a_token_from_the_future() -> None:
    """A token that was issued ahead of this machine's clock is usable and not due."""
    window = RefreshPolicy().window(_token(HOUR, age=-300), NOW)
    assert 0 < window.due_in < window.usable_for


def test_no_expiry() -> None:
    """A token without an expiry is never due and always usable."""
    assert (math.inf, math.inf) == RefreshPolicy().window(Token("t0ken"), NOW)
    assert RefreshPolicy().is_usable(Token("t0ken"), NOW)


@pytest.mark.parametrize("asked", [1200, 1200.0, "1200"])
def test_refresh_in_is_taken_as_it_is(asked: Any) -> None:
    """The endpoint's refresh_in, counted from the issue, replaces the drawn moment; nothing is drawn."""
    token = _token(HOUR, age=200, extra={"refresh_in": asked})
    assert pytest.approx(1000) == RefreshPolicy().window(token, NOW, draw=lambda: pytest.fail("drawn")).due_in
    assert (1200, math.inf) == RefreshPolicy().window(Token("t0ken", extra={"refresh_in": asked}), NOW)


def test_refresh_in_past_the_expiry() -> None:
    """A refresh_in that is longer than the lifetime still leaves a due window."""
    window = RefreshPolicy().window(_token(HOUR, extra={"refresh_in": 2 * HOUR}), NOW)
    assert HOUR - 20 == pytest.approx(window.due_in)


@pytest.mark.parametrize("asked", [0, -1, True, None, "soon", "", [1], math.nan, math.inf, "nan", 10**400])
def test_refresh_in_that_says_nothing(asked: Any) -> None:
    """A refresh_in that is no positive number is passed over."""
    token = _token(HOUR, extra={"refresh_in": asked})
    assert pytest.approx(0.8 * HOUR) == RefreshPolicy().window(token, NOW, draw=lambda: 0.0).due_in


def test_a_source_with_a_cache_of_its_own() -> None:
    """Where the source's newest token would be due at once, what is left of its life counts as the whole."""
    policy, old = RefreshPolicy(jitter=0), _token(HOUR, age=3500)
    assert policy.window(old, NOW).due_in < 0
    assert pytest.approx((80, 95)) == policy.window(old, NOW, just_fetched=True)
    hasty = _token(HOUR, age=60, extra={"refresh_in": 30})
    assert pytest.approx(0.8 * 3540) == policy.window(hasty, NOW, just_fetched=True).due_in
    assert pytest.approx(0.8 * HOUR) == policy.window(_token(HOUR), NOW, just_fetched=True).due_in


@pytest.mark.parametrize("left", [0.5, 0, -60])
def test_a_source_of_dead_tokens(left: float) -> None:
    """A source whose tokens are all but expired is asked once per min_renewal_interval and not in a loop."""
    window = RefreshPolicy(min_renewal_interval=5).window(_token(HOUR, age=HOUR - left), NOW, just_fetched=True)
    assert 5 == window.due_in
    assert pytest.approx(left, abs=0.03) == window.usable_for


def test_a_fleet_spreads_out() -> None:
    """A thousand managers that got their hour's token at once renew it evenly over a tenth of the hour."""
    due = sorted(RefreshPolicy().window(_token(HOUR), NOW).due_in for _ in range(1000))
    assert 0.7 * HOUR <= due[0] < 0.71 * HOUR
    assert 0.79 * HOUR < due[-1] <= 0.8 * HOUR
    tenths = [sum(0.7 * HOUR + 36 * i <= one < 0.7 * HOUR + 36 * (i + 1) for one in due) for i in range(10)]
    assert all(40 < count < 180 for count in tenths), tenths  # 100 each; beyond six standard deviations


@pytest.mark.parametrize(("failures", "delay"), [(1, 1), (2, 1.5), (3, 2.25), (11, 57.6650390625), (12, 60), (99, 60)])
def test_back_off_grows_to_its_cap(failures: int, delay: float) -> None:
    """Each failure in a row multiplies the back-off by one and a half, from one second up to a minute."""
    assert delay == RefreshPolicy().retry_delay(failures, TransportError("down"), draw=lambda: 1.0)


@pytest.mark.parametrize("failures", [10**4, 10**400])
def test_back_off_after_years_of_failures(failures: int) -> None:
    """A number of failures that no float can hold gives the longest back-off and no error."""
    assert 60 == RefreshPolicy().retry_delay(failures, None, draw=lambda: 1.0)


@pytest.mark.parametrize("error", [None, TransportError("down"), NoConnection(), ValueError("a bug")])
@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_full_jitter(error: Exception | None, draw: float) -> None:
    """The back-off is drawn from a tenth to its whole, for whatever is not a permanent refusal."""
    assert 60 * max(draw, 0.1) == RefreshPolicy().retry_delay(99, error, draw=lambda: draw)


@pytest.mark.parametrize(
    ("usable_for", "longest"),
    [(0, 60), (20, 10), (100, 50), (500, 60), (1200, 120), (86400, 300)],
)
def test_the_longest_pause_beside_a_good_token(usable_for: float, longest: float) -> None:
    """A tenth of what is left, if that is more than max_retry_timeout, at most 5 minutes and half of what is left."""
    policy = RefreshPolicy()
    assert longest == policy.retry_delay(99, None, draw=lambda: 1.0, usable_for=usable_for)
    assert longest == policy.retry_delay(1, AuthenticationError("no"), draw=lambda: 0.0, usable_for=usable_for)


def test_an_endpoint_cannot_ask_for_more_than_half_of_what_is_left() -> None:
    """What Retry-After says would else be an outage of its own."""
    error = TransportError("busy", retry_after=250)
    assert (250, 50) == tuple(RefreshPolicy().retry_delay(1, error, usable_for=left) for left in (3600, 100))


def test_drawn_back_offs_differ() -> None:
    """Left alone, the policy draws by itself."""
    delays = {RefreshPolicy().retry_delay(99, None) for _ in range(100)}
    assert len(delays) > 50  # a tenth of them are the least one
    assert 0 <= min(delays) < max(delays) <= 60


@pytest.mark.parametrize(("retry_after", "delay"), [(30, 30), (0, 0.5), (None, 0.5), (0.1, 0.5), (300, 300)])
def test_retry_after_raises_the_back_off(retry_after: float | None, delay: float) -> None:
    """What the endpoint asks to wait is the least, never the most."""
    error = TransportError("busy", retry_after=retry_after)
    assert delay == RefreshPolicy().retry_delay(1, error, draw=lambda: 0.5)


@pytest.mark.parametrize(("retry_after", "delay"), [(None, 60), (5, 60), (120, 120)])
def test_permanent_refusal(retry_after: float | None, delay: float) -> None:
    """A permanent refusal waits the longest from the first failure on, without chance, or longer where asked."""
    error = TokenEndpointError("refused", error="invalid_client", retry_after=retry_after)
    assert delay == RefreshPolicy().retry_delay(1, error, draw=lambda: 0.0)
    assert not AuthenticationError("refused").transient


DURATIONS = [
    "expiry_margin",
    "initial_safety_margin",
    "initial_retry_timeout",
    "max_retry_timeout",
    "refresh_request_timeout",
    "lock_timeout",
    "storage_poll",
    "min_renewal_interval",
]
NOT_NUMBERS = [math.nan, math.inf, -math.inf, 10**400, -1, True, "10", [1], timedelta(seconds=-1)]
BAD_VALUES = [
    *[(name, value) for name in DURATIONS for value in NOT_NUMBERS],
    *[(name, None) for name in DURATIONS if name != "initial_safety_margin"],
    *[(name, 0) for name in ("initial_retry_timeout", "max_retry_timeout", "refresh_request_timeout")],
    *[(name, value) for name in ("lifetime_safe_fraction", "jitter") for value in (1.01, *NOT_NUMBERS, None)],
    ("lifetime_safe_fraction", 0),
    *[("retry_timeout_exponent", value) for value in (0, 0.99, *NOT_NUMBERS, None)],
    *[("max_retries", value) for value in (1.5, 2.0, *NOT_NUMBERS, None)],
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_bad_values(name: str, value: Any) -> None:
    """A value that is no finite number, or is out of range, is refused by name when the policy is made."""
    with pytest.raises(ConfigurationError, match=name):
        RefreshPolicy(**{name: value})


def test_values_that_contradict_each_other() -> None:
    """The longest back-off is not below the first, and the jitter cannot make a new token due at once."""
    with pytest.raises(ConfigurationError, match="max_retry_timeout"):
        RefreshPolicy(initial_retry_timeout=61)
    with pytest.raises(ConfigurationError, match="jitter"):
        RefreshPolicy(lifetime_safe_fraction=0.1, jitter=0.1)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [60, 60.0, timedelta(minutes=1)])
def test_durations(name: str, value: float | timedelta) -> None:
    """Every duration is seconds or a timedelta, and reads as seconds."""
    assert 60.0 == RefreshPolicy(**{name: value}).seconds(name)


def test_nothing_where_it_has_a_meaning() -> None:
    """Margins, lock time, polling and intervals may be nothing; an absent safety margin reads as none."""
    names = ["expiry_margin", "initial_safety_margin", "lock_timeout", "storage_poll", "min_renewal_interval", "jitter"]
    policy = RefreshPolicy(**dict.fromkeys(names, 0), max_retries=0)
    assert {0} == {policy.seconds(name) for name in names} | {policy.max_retries}
    assert 0 == RefreshPolicy().seconds("initial_safety_margin")


def test_policies_are_values() -> None:
    """Policies that mean the same are equal, however they were written, and take keywords only."""
    assert RefreshPolicy(lock_timeout=60) == RefreshPolicy(lock_timeout=timedelta(minutes=1))
    with pytest.raises(TypeError):
        RefreshPolicy(0.9)
