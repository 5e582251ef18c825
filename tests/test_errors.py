import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.exceptions import RequestException, Timeout

from tokenkit import errors
from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedResponseError,
    RenewalError,
    RenewalStoppedError,
    RenewalTimeoutError,
    SignInRequiredError,
    SourceUnavailableError,
    StorageError,
    StorageLockTimeoutError,
    TokenEndpointError,
    TokenKitError,
    TransportError,
    own_copy,
)

STEP = {"service_name": "billing", "step_name": "user_token", "transient": True, "retry_after": 2.5}
REFUSAL = {"status": 400, "error": "invalid_grant", "error_description": "spent", "error_uri": "https://idp.test/e"}
EVERY_ERROR = [
    TokenKitError("no luck"),
    ConfigurationError("no luck"),
    AuthenticationError("no luck", **STEP),
    SignInRequiredError("no luck", **STEP),
    SourceUnavailableError("no luck", **STEP),
    TransportError("no luck", **STEP),
    TokenEndpointError("no luck", **REFUSAL, **STEP),
    MalformedResponseError("no luck", **STEP),
    RenewalError("no luck"),
    RenewalTimeoutError("no luck"),
    RenewalStoppedError("no luck"),
    StorageError("no luck"),
    StorageLockTimeoutError("no luck"),
]


def _through_pickle(error: TokenKitError) -> TokenKitError:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("duplicate", [_through_pickle, copy.copy, copy.deepcopy, own_copy], ids=lambda f: f.__name__)
def test_duplicates(error: TokenKitError, duplicate: Callable[[TokenKitError], TokenKitError]) -> None:
    """Every error pickles and copies into another object of its type with its message and its facts."""
    other = duplicate(error)
    assert error is not other
    assert type(error) is type(other)
    assert vars(error) == vars(other)
    assert ("no luck", ("no luck",)) == (str(other), other.args)


def test_every_class_is_tried() -> None:
    """No class of the module is missing from the list that the tests above run through."""
    classes = {getattr(errors, name) for name in errors.__all__ if name != "own_copy"}
    assert classes == {type(error) for error in EVERY_ERROR}


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_text_is_the_message_alone(error: TokenKitError) -> None:
    """The text of an error is its message, without the errno form that an OSError of several arguments has."""
    assert "no luck" == str(error) == error.message
    assert f"{type(error).__name__}('no luck')" == repr(error)


@pytest.mark.parametrize(
    ("error", "handler"),
    [(error, RequestException) for error in EVERY_ERROR]
    + [(RenewalTimeoutError("late"), Timeout), (ConfigurationError("wrong"), ValueError)],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_handlers_that_users_have(error: TokenKitError, handler: type[Exception]) -> None:
    """`except RequestException` holds for all, `except Timeout` for a late renewal, `except ValueError` for bad use."""
    with pytest.raises(handler) as caught:
        raise error
    assert error is caught.value


def test_an_error_without_words() -> None:
    """An error without a message has an empty text and duplicates like any other."""
    assert "" == str(RenewalError()) == str(copy.copy(RenewalError())) == str(AuthenticationError())


def test_facts_that_default() -> None:
    """A failed transport is transient and a refusal is not, unless told otherwise."""
    assert TransportError("down").transient
    assert not TransportError("bad certificate", transient=False).transient
    assert not TokenEndpointError("refused").transient
    assert not MalformedResponseError("html").transient
    assert not AuthenticationError("no").transient


def test_every_error_says_whether_it_may_pass() -> None:
    """Time that was too short may be long enough the next time; a wrong argument stays wrong."""
    kinds = {getattr(errors, name) for name in errors.__all__ if name != "own_copy"}
    assert {TransportError, RenewalTimeoutError, StorageLockTimeoutError} == {
        kind for kind in kinds if kind().transient
    }


@pytest.mark.parametrize("duplicate", [_through_pickle, copy.copy, copy.deepcopy, own_copy], ids=lambda f: f.__name__)
def test_request_and_response_stay_behind(duplicate: Callable[[TokenKitError], TokenKitError]) -> None:
    """What requests may attach to an error, and could carry a credential, is in no duplicate."""
    error = TokenEndpointError("refused", status=400)
    error.request = requests.Request("POST", "https://idp.test", data={"client_secret": "s3cr3t"}).prepare()
    error.response = requests.Response()
    other = duplicate(error)
    assert (None, None) == (other.request, other.response)
    assert b"s3cr3t" not in pickle.dumps(error)


class _QuotaError(AuthenticationError):
    """What a user may write: other arguments, another attribute, another way to pickle."""

    def __init__(self, used: int, allowed: int) -> None:
        super().__init__(f"{used} of {allowed}", transient=True)
        self.used = used

    def __reduce__(self) -> tuple[Any, ...]:
        return _QuotaError, (self.used, 10)


class _PlainQuotaError(AuthenticationError):
    def __init__(self, used: int, allowed: int) -> None:
        super().__init__(f"{used} of {allowed}", transient=True)
        self.used = used


@pytest.mark.parametrize("error", [_QuotaError(11, 10), _PlainQuotaError(11, 10)], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("duplicate", [_through_pickle, copy.copy, copy.deepcopy, own_copy], ids=lambda f: f.__name__)
def test_subclass_with_other_arguments(error: Any, duplicate: Callable[[Any], Any]) -> None:
    """A user's subclass whose constructor takes something else is duplicated with its facts too."""
    other = duplicate(error)
    assert type(error) is type(other)
    assert ("11 of 10", 11, True) == (str(other), other.used, other.transient)


class _LoginError(AuthenticationError):
    def __init__(self, code: int) -> None:  # and nothing more
        self.code = code


class _RefusedError(TokenEndpointError):
    def __init__(self, code: int) -> None:
        self.code = code


class _LostError(TransportError):
    def __init__(self, code: int) -> None:
        self.code = code


@pytest.mark.parametrize("kind", [_LoginError, _RefusedError, _LostError])
@pytest.mark.parametrize("duplicate", [lambda e: e, _through_pickle, copy.copy, copy.deepcopy, own_copy])
def test_subclass_that_does_not_call_its_base(kind: type[Any], duplicate: Callable[[Any], Any]) -> None:
    """Its facts are the defaults, whatever is done with it."""
    error = duplicate(kind(7))
    assert (7, "", None, None, None) == (error.code, str(error), error.service_name, error.step_name, error.retry_after)
    assert (kind is _LostError) is error.transient
    if kind is _RefusedError:
        assert (None,) * 4 == (error.status, error.error, error.error_description, error.error_uri)
        assert not error.grant_refused


def test_own_copy_keeps_the_cause() -> None:
    """A waiter's own copy is another object that leads to the same cause, without the first raiser's traceback."""
    cause = TransportError("connection refused")
    try:
        raise AuthenticationError("no token", step_name="app") from cause
    except AuthenticationError as error:
        shared = error
    mine = own_copy(shared)
    assert shared is not mine
    assert cause is mine.__cause__
    assert mine.__traceback__ is None
    assert mine.__context__ is None


def test_own_copy_is_independent() -> None:
    """A fact that is set on a copy does not appear on the original."""
    error = AuthenticationError("no token")
    mine = own_copy(error)
    mine.service_name = "billing"
    assert error.service_name is None
    assert mine.__cause__ is None
