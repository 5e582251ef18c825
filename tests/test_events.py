import dataclasses

import pytest

from tokenkit.errors import ConfigurationError
from tokenkit.events import Announcer, TokenEvent, TokenListener

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


class _Recorder(TokenListener):
    def __init__(self) -> None:
        self.heard: list[TokenEvent] = []

    def token_refresh(self, event: TokenEvent) -> None:
        self.heard.append(event)


class _Broken(TokenListener):
    def token_refresh(self, event: TokenEvent) -> None:
        raise ValueError("s3cr3t")


class _HitCounter(TokenListener):
    def cache_hit(self, event: TokenEvent) -> None:
        """Count it somewhere."""


def test_all_listeners_hear_one_event() -> None:
    """Every listener hears the same event, in the service's name."""
    one, other = _Recorder(), _Recorder()
    announcer = Announcer("billing", [one, other])
    announcer.tell("token_refresh", "success", 0.5, background=True)
    announcer.tell("cache_store", "success")
    assert [TokenEvent("billing", "success", 0.5, True)] == one.heard
    assert one.heard[0] is other.heard[0]


def test_what_a_listener_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises keeps nobody else from hearing; its error is logged by type, unquoted."""
    recorder = _Recorder()
    Announcer("billing", [_Broken(), recorder]).tell("token_refresh", "error")
    assert [TokenEvent("billing", "error")] == recorder.heard
    assert ["listener _Broken raised ValueError [hook-raised]"] == caplog.messages


class _Interrupted(TokenListener):
    def token_refresh(self, event: TokenEvent) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_in_a_listener_is_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on to the caller on whose thread it came; on the renewal thread there is nobody, and it is logged."""
    announcer = Announcer("billing", [_Interrupted(), recorder := _Recorder()])
    with pytest.raises(KeyboardInterrupt):
        announcer.tell("token_refresh", "success")
    announcer.tell("token_refresh", "success", background=True)
    assert ([True], ["listener _Interrupted raised KeyboardInterrupt [hook-raised]"]) == (
        [one.background for one in recorder.heard],
        caplog.messages,
    )


@pytest.mark.parametrize(
    ("listeners", "hears"), [([], False), ([_Recorder()], False), ([_Recorder(), _HitCounter()], True)]
)
def test_who_hears_hits(listeners: list[TokenListener], hears: bool) -> None:
    """Only a listener that overrides cache_hit makes the hot path tell of hits."""
    announcer = Announcer("billing", iter(listeners))
    assert hears is announcer.hears_hits
    assert tuple(listeners) == announcer.listeners
    announcer.tell("cache_hit", "fresh")


@pytest.mark.parametrize("wrong", [print, None, _Recorder])
def test_what_is_no_listener(wrong: object) -> None:
    """Anything but a TokenListener object is refused at once."""
    with pytest.raises(ConfigurationError, match="must be a TokenListener"):
        Announcer("billing", [wrong])


@pytest.mark.parametrize("wrong", [None, 1, TokenListener()])
def test_what_is_no_list_of_listeners(wrong: object) -> None:
    """One listener alone is not a list of them, and None is not an empty one."""
    with pytest.raises(ConfigurationError, match=f"must be a list, not {type(wrong).__name__}"):
        Announcer("billing", wrong)
