"""References to secrets, and the fetchers that configuration makes."""

import sys
import traceback
from pathlib import Path

import pytest
from support import needs

from tokenkit import secrets
from tokenkit._secrecy.references import ReferencedFields, SecretReference, as_value, references_in, resolved
from tokenkit.config._fetchers import GivenTokenFetcher, KeyedBodyFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError, SourceUnavailableError
from tokenkit.fetchers import FileTokenFetcher

CANARY = "canary-51be"
MISSING = SecretReference("env", "REFERENCES_NOWHERE")


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """'~' is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(" abc \n")
    assert "abc" == SecretReference("file", "~/secret")()


def test_references_are_found_and_read_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON body may be deep."""
    monkeypatch.setenv("REFERENCES_A", "abc")
    place = SecretReference("env", "REFERENCES_A")
    fields = ReferencedFields({"list": [place, 1], "table": {"a": place}, "plain": "x"})
    assert [place, place] == list(references_in(fields))
    assert {"list": ["abc", 1], "table": {"a": "abc"}, "plain": "x"} == fields() == resolved(fields.fields)
    assert fields() == fields.cache_identity()


def test_what_cannot_be_read_has_no_identity() -> None:
    """A storage key made of it is shared with nobody."""
    assert MISSING.cache_identity() is None
    assert ReferencedFields({"a": MISSING}).cache_identity() is None
    addresses = {"name": "n", "base_url": "https://idp.test", "endpoint": "t"}
    fetchers = [KeyedBodyFetcher(**addresses, request_data=ReferencedFields({"a": MISSING})) for _ in range(2)]
    assert fetchers[0].cache_key != fetchers[1].cache_key


@pytest.mark.parametrize("text", ["env:", "file:", "keyring:", "keyring:service", "keyring:/user", "keyring:service/"])
def test_a_reference_without_a_place_is_refused(text: str) -> None:
    """It would be looked for in vain at each fetch."""
    needs.module("keyring")
    with pytest.raises(ConfigurationError):
        as_value(text)


def test_what_a_keyring_says_of_its_failure_is_not_shown() -> None:
    """A backend is foreign code; its error may hold anything. The failure may pass: a keyring is unlocked later."""
    keyring = needs.module("keyring")
    backend = needs.module("keyring.backend")

    class Broken(backend.KeyringBackend):  # type: ignore[name-defined,misc]  # optional
        priority = 0

        def get_password(self, service: str, username: str) -> str:
            raise RuntimeError(CANARY)

        def set_password(self, service: str, username: str, password: str) -> None: ...

    before = keyring.get_keyring()
    keyring.set_keyring(Broken())
    try:
        with pytest.raises(AuthenticationError, match=r"cannot be read \(RuntimeError\): svc/me") as caught:
            SecretReference("keyring", "svc/me")()
    finally:
        keyring.set_keyring(before)
    assert caught.value.transient
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_given_token_is_checked_as_soon_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A literal when the fetcher is made, a reference when it is read; neither is quoted."""
    with pytest.raises(ConfigurationError) as refused:
        GivenTokenFetcher(token=f"{CANARY} x")
    monkeypatch.setenv("REFERENCES_T", f"{CANARY} x")
    with pytest.raises(MalformedResponseError) as malformed:
        GivenTokenFetcher(token=SecretReference("env", "REFERENCES_T"), name="step").fetch()
    assert "step" == malformed.value.step_name
    for caught in (refused, malformed):
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert "<GivenTokenFetcher 'static'>" == repr(GivenTokenFetcher(token=CANARY))


def test_without_the_extra_a_keyring_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"needs the extra requests-tokenkit\[keyring\]"):
        as_value("keyring:service/user")


def test_an_entry_of_the_keyring_is_named_by_both_its_parts() -> None:
    """What cannot be told apart from another entry's name, or is empty, is refused at once."""
    needs.module("keyring")
    assert "keyring:https://idp.test/client" == str(secrets.keyring("https://idp.test", "client"))
    for service, user in (("", "client"), ("idp", ""), ("idp", "a/b"), (None, "client")):
        with pytest.raises(ConfigurationError, match="must be a text that is not empty"):
            secrets.keyring(service, user)  # type: ignore[arg-type]  # wrong


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whoever runs the program; that of nobody is named as it was given."""
    (tmp_path / "token").write_text("abc")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert "abc" == FileTokenFetcher("~/token").fetch().access_token
    with pytest.raises(SourceUnavailableError, match="~nobody-at-all/token"):
        FileTokenFetcher("~nobody-at-all/token").fetch()
