import copy
import logging
import pickle

import pytest
from support import event_log

from tokenkit.contrib.logging import LoggingListener
from tokenkit.events import FailureFacts, TokenEvent
from tokenkit.testing import LocalIdP

EVENTS = {"token_acquire", "token_lifetime", "token_refresh", "cache_miss", "cache_store", "cache_refresh"}
EVENTS |= {"cache_invalidate"}


@pytest.mark.parametrize("hits", [False, True])
def test_all_events_are_logged(local_idp: LocalIdP, caplog: pytest.LogCaptureFixture, hits: bool) -> None:
    """Each of the eight events is a line; hits only where they were asked for."""
    caplog.set_level(logging.DEBUG, "tokenkit.contrib")
    event_log.live(local_idp, LoggingListener(hits=hits))
    records = [record for record in caplog.records if record.name == "tokenkit.contrib"]
    assert EVENTS | ({"cache_hit"} if hits else set()) == {record.token_event for record in records}
    assert {event_log.SERVICE} == {record.service_name for record in records}


def test_no_secret_is_logged(local_idp: LocalIdP, caplog: pytest.LogCaptureFixture) -> None:
    """No line, nor any attribute of its record, holds a token or a secret."""
    caplog.set_level(logging.DEBUG, "tokenkit")
    tokens = event_log.live(local_idp, LoggingListener(hits=True))
    said = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert [] == [secret for secret in [event_log.SECRET, *tokens] if secret in said]


def test_a_line_reads_well(caplog: pytest.LogCaptureFixture) -> None:
    """It says whose token, what happened, how it ended, how long it took, and where."""
    caplog.set_level(logging.DEBUG, "tokenkit.contrib")
    LoggingListener().token_refresh(TokenEvent("billing", "success", 0.25, background=True))
    LoggingListener().cache_miss(TokenEvent("billing", "absent"))
    wanted = ["billing: token_refresh success, 0.250 s in the background", "billing: cache_miss absent"]
    assert wanted == caplog.messages


def test_a_line_says_why_something_failed(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong secret can be told from an outage, and one endpoint from another."""
    wrong = FailureFacts("TokenEndpointError", 401, "invalid_client", "id.example.com", retry_in=60.0)
    LoggingListener().token_refresh(TokenEvent("billing", "error", failure=wrong))
    LoggingListener().cache_store(TokenEvent("billing", "error", failure=FailureFacts("StorageError")))
    why = "TokenEndpointError, 401, invalid_client at id.example.com; the next try is in 60 s"
    wanted = [f"billing: token_refresh error: {why}", "billing: cache_store error: StorageError"]
    assert wanted == caplog.messages


def test_failures_have_a_level_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """What goes well is at the one level, what does not at the other, and the logger is the user's choice."""
    mine = logging.getLogger("shop.tokens")
    caplog.set_level(logging.INFO, "shop.tokens")
    listener = LoggingListener(mine, level=logging.INFO, failure_level=logging.ERROR)
    for result in ("success", "error", "superseded"):
        listener.token_refresh(TokenEvent("billing", result))
    assert [logging.INFO, logging.ERROR, logging.ERROR] == [record.levelno for record in caplog.records]
    assert {"shop.tokens"} == {record.name for record in caplog.records}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_logs_on(caplog: pytest.LogCaptureFixture, again: object) -> None:
    """With a copied or pickled manager goes a listener that does the same."""
    caplog.set_level(logging.DEBUG, "shop.tokens")
    again(LoggingListener(logging.getLogger("shop.tokens"), hits=True)).cache_hit(TokenEvent("billing", "fresh"))
    assert ["billing: cache_hit fresh"] == caplog.messages


def test_a_level_that_nobody_reads_costs_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """What the logger would drop is not made."""
    caplog.set_level(logging.WARNING, "tokenkit.contrib")
    LoggingListener(failure_level=logging.WARNING).token_refresh(TokenEvent("billing", "success"))
    assert [] == caplog.messages
