import dataclasses

import pytest
from tokenkit.events import TokenEvent, TokenListener

METHODS = [
    "token_acquire",
    "token_lifetime",
    "token_refresh",
    "cache_hit",
    "cache_miss",
    "cache_store",
    "cache_refresh",
    "cache_invalidate",
]


@pytest.mark.parametrize("method", METHODS)
def test_a_listener_ignores_what_it_does_not_override(method: str) -> None:
    """A listener that overrides nothing hears every event without a word."""
    assert getattr(TokenListener(), method)(TokenEvent("billing", "success")) is None


def test_nothing_else_is_heard() -> None:
    """A listener has those methods and no other."""
    assert set(METHODS) == {name for name in vars(TokenListener) if not name.startswith("_")}


def test_an_event_is_a_frozen_value() -> None:
    """Events with the same facts are equal, and nobody who hears one can change it for the next listener."""
    event = TokenEvent("billing", "success", seconds=0.5, background=True)
    assert TokenEvent("billing", "success", 0.5, True) == event
    assert (None, False) == (TokenEvent("billing", "due").seconds, TokenEvent("billing", "due").background)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.result = "error"
    assert not hasattr(event, "__dict__")
