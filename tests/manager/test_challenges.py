"""What a resource says of a rejected token reaches the source: once, and of several callers the first one's."""

import pytest
from support.scripted import Harness, down

from tokenkit import AuthenticationError, ConfigurationError, FetchContext, Token
from tokenkit.contracts import Challenge

FIRST = Challenge(error="insufficient_claims", claims='{"a": 1}')
OTHER = Challenge(error="insufficient_claims", claims='{"b": 2}')


def heard(harness: Harness) -> list[Challenge | None]:
    """Have every attempt from now on succeed; the list fills with what each was told."""
    told: list[Challenge | None] = []

    def answer(previous: Token | None, context: FetchContext) -> Token:
        told.append(context.challenge)
        return harness.source.token()

    harness.source.always = answer
    return told


def test_the_source_hears_it_once(harness: Harness) -> None:
    """The attempt after an invalidation has the challenge, and no other attempt."""
    told = heard(harness)
    harness.manager.invalidate_token(harness.manager.get_token(), FIRST)
    harness.manager.get_token()
    harness.manager.force_refresh()
    assert [None, FIRST, None] == told


def test_the_first_one_is_heard(harness: Harness) -> None:
    """Who reports the same token later joins the attempt of the first."""
    told = heard(harness)
    rejected = harness.manager.get_token()
    harness.manager.invalidate_token(rejected, FIRST)
    harness.manager.invalidate_token(rejected, OTHER)
    harness.manager.renew_rejected(rejected, challenge=OTHER)
    assert [None, FIRST] == told


def test_who_joined_and_is_still_refused_asks_once_more(harness: Harness) -> None:
    """A token too young to be bad is replaced for one who was not heard; the next such one waits for the interval."""
    told = heard(harness)
    first = harness.manager.get_token()
    second = harness.manager.renew_rejected(first, challenge=FIRST)
    assert second is harness.manager.renew_rejected(first, challenge=OTHER)
    third = harness.manager.renew_rejected(second, challenge=OTHER, earlier=OTHER)
    assert [None, FIRST, OTHER] == told
    assert harness.manager.renew_rejected(third, challenge=FIRST, earlier=FIRST) is None


@pytest.mark.parametrize("earlier", [FIRST, None, Challenge(error="invalid_token")])
def test_who_was_heard_or_wants_nothing_waits_for_the_interval(harness: Harness, earlier: Challenge | None) -> None:
    """Another attempt would tell the source nothing new."""
    rejected = harness.manager.get_token()
    second = harness.manager.renew_rejected(rejected, challenge=FIRST)
    assert harness.manager.renew_rejected(second, challenge=OTHER, earlier=earlier) is None


def test_a_passing_failure_keeps_it(harness: Harness) -> None:
    """The source has not answered yet, so the next attempt tells it again."""
    rejected = harness.manager.get_token()
    harness.source.then(down())
    with pytest.raises(AuthenticationError):
        harness.manager.renew_rejected(rejected, challenge=FIRST)
    told = heard(harness)
    harness.manager.force_refresh()
    assert [FIRST] == told


def test_a_final_refusal_ends_it(harness: Harness) -> None:
    """One resource that wants the impossible must not keep all others from a token."""
    rejected = harness.manager.get_token()
    harness.source.then(AuthenticationError("no such claim"))
    with pytest.raises(AuthenticationError):
        harness.manager.renew_rejected(rejected, challenge=FIRST)
    told = heard(harness)
    harness.manager.force_refresh()
    assert [None] == told


def test_a_challenge_is_no_header(harness: Harness) -> None:
    """The text of WWW-Authenticate is refused, and not shown; what is held stays."""
    token = harness.manager.get_token()
    with pytest.raises(ConfigurationError, match="challenge must be a Challenge or None, not str"):
        harness.manager.invalidate_token(token, 'Bearer error="invalid_token"')  # type: ignore[arg-type]  # on purpose
    assert token is harness.manager.current


def test_those_who_ask_once_more_do_not_shorten_the_interval(harness: Harness) -> None:
    """A resource that wants something else each time costs two renewals an interval, which doubles all the same."""
    told = heard(harness)
    harness.manager.get_token()
    costs: list[int] = []
    for second in range(16):
        before = len(told)
        for number in range(3):
            held = harness.manager.get_token()
            joined = Challenge(error="insufficient_claims", claims=f"{second} {number}")
            harness.manager.renew_rejected(held, challenge=FIRST, earlier=joined)
        costs.append(len(told) - before)
        harness.clock.advance(1)
    assert [0, 1, 3, 7, 15] == [second for second, cost in enumerate(costs) if cost]
