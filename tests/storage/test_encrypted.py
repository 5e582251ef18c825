"""Tokens as ciphertext."""

import copy
import logging
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
from support import needs
from support.secrets_shown import shown

from tokenkit.errors import ConfigurationError, StorageError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token

fernet = needs.module("cryptography.fernet")
from tokenkit.storage import EncryptedTokenStorage  # noqa: E402 - needs cryptography

KEY, OTHER = fernet.Fernet.generate_key(), fernet.Fernet.generate_key()
TOKEN = Token.from_response(
    {"access_token": "access-secret", "expires_in": 60, "refresh_token": "r-secret", "refresh_expires_in": 600}
)


@pytest.fixture
def inner() -> InMemoryTokenStorage:
    return InMemoryTokenStorage()


class TestInMemory(StorageContract):
    between_processes = False

    @pytest.fixture
    def storage(self) -> EncryptedTokenStorage:
        return EncryptedTokenStorage(InMemoryTokenStorage(), KEY.decode())


class TestInFiles(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> EncryptedTokenStorage:
        return EncryptedTokenStorage(FileTokenStorage(tmp_path / "tokens"), [KEY, OTHER])

    @pytest.fixture
    def twin(self, tmp_path: Path) -> EncryptedTokenStorage:
        return EncryptedTokenStorage(FileTokenStorage(tmp_path / "tokens"), [OTHER, KEY])


def test_the_inner_storage_sees_no_secret(inner: InMemoryTokenStorage) -> None:
    """It gets ciphertext, and what tells it how long to keep that."""
    EncryptedTokenStorage(inner, KEY).set("key", TOKEN)
    sealed = inner.get("key")
    assert sealed is not None
    assert "secret" not in str(sealed.to_dict())
    assert (TOKEN.expires_at, TOKEN.issued_at, True) == (
        sealed.expires_at,
        sealed.issued_at,
        sealed.refresh_token is not None,
    )
    assert {"refresh_expires_in": 600} == dict(sealed.extra)


def test_keys_rotate(inner: InMemoryTokenStorage) -> None:
    """A new key in front encrypts; the old one behind it still decrypts until it is dropped."""
    EncryptedTokenStorage(inner, KEY).set("key", TOKEN)
    both = EncryptedTokenStorage(inner, [OTHER, KEY])
    assert TOKEN == both.get("key")
    assert both.replace("key", TOKEN, TOKEN)
    assert TOKEN == EncryptedTokenStorage(inner, OTHER).get("key")


def test_what_no_key_decrypts_is_absent(inner: InMemoryTokenStorage, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once without its content, and healed by a replace that expects nothing."""
    EncryptedTokenStorage(inner, KEY).set("key", TOKEN)
    storage = EncryptedTokenStorage(inner, OTHER)
    with caplog.at_level(logging.WARNING):
        assert [None, None] == [storage.get("key"), storage.get("key")]
    assert 1 == len(caplog.records)
    assert not storage.delete_if_equal("key", TOKEN)
    assert storage.replace("key", None, TOKEN)
    assert TOKEN == storage.get("key")


def test_what_no_key_decrypts_is_told_to_who_would_spend_a_refresh_token(inner: InMemoryTokenStorage) -> None:
    """In a strict look it is a StorageError: another release may have written the newest refresh token there."""
    EncryptedTokenStorage(inner, KEY).set("key", TOKEN)
    with pytest.raises(StorageError, match="no key decrypts it") as caught:
        EncryptedTokenStorage(inner, OTHER).get_strict("key")
    assert "secret" not in shown(caught.value)
    assert TOKEN == EncryptedTokenStorage(inner, [OTHER, KEY]).get_strict("key")
    assert EncryptedTokenStorage(inner, OTHER).get_strict("nothing") is None


def test_a_plain_token_is_told_to_who_would_spend_a_refresh_token(inner: InMemoryTokenStorage) -> None:
    """Whoever begins to encrypt a storage that is in use hears of it, rather than spend an old refresh token."""
    inner.set("key", TOKEN)
    with pytest.raises(StorageError, match="not encrypted"):
        EncryptedTokenStorage(inner, KEY).get_strict("key")


def test_a_rolling_deployment_of_a_key_is_read_by_all(inner: InMemoryTokenStorage) -> None:
    """New key last everywhere, then first, then the old one dropped: at no step is there what a program cannot read."""
    for older, newer in ([[KEY], [KEY, OTHER]], [[KEY, OTHER], [OTHER, KEY]], [[OTHER, KEY], [OTHER]]):
        EncryptedTokenStorage(inner, newer).set("key", TOKEN)
        assert TOKEN == EncryptedTokenStorage(inner, older).get_strict("key")
        EncryptedTokenStorage(inner, older).set("key", TOKEN)
        assert TOKEN == EncryptedTokenStorage(inner, newer).get_strict("key")
        EncryptedTokenStorage(inner, newer).set("key", TOKEN)  # each is renewed before the next step


def test_its_lease_is_the_inner_storages() -> None:
    """A manager that compares its patience with the lock's finds the lock's."""
    redis = needs.module("tokenkit.storage.redis")
    storage = redis.RedisTokenStorage("redis://localhost", lock_lease=7)
    assert 7 == EncryptedTokenStorage(storage, KEY).lock_lease


def test_a_plain_token_is_absent(inner: InMemoryTokenStorage) -> None:
    """A token that somebody put into the inner storage unencrypted is not believed."""
    inner.set("key", TOKEN)
    assert EncryptedTokenStorage(inner, KEY).get("key") is None


def test_a_ciphertext_is_bound_to_its_key(inner: InMemoryTokenStorage) -> None:
    """An entry copied under another key, as to swap two users, counts as absent."""
    storage = EncryptedTokenStorage(inner, KEY)
    storage.set("mine", TOKEN)
    sealed = inner.get("mine")
    assert sealed is not None
    inner.set("yours", sealed)
    assert storage.get("yours") is None


@pytest.mark.parametrize("keys", [[], "", "secret-but-no-key", [KEY, b"secret"], [3], 3, None])
def test_a_bad_key_is_refused_without_being_quoted(keys: Any) -> None:
    """What is not a Fernet key is a ConfigurationError, before anything is stored."""
    with pytest.raises(ConfigurationError) as caught:
        EncryptedTokenStorage(InMemoryTokenStorage(), keys)
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_the_inner_storage_is_one() -> None:
    """What is no storage is refused, before anything is stored."""
    with pytest.raises(ConfigurationError, match="inner"):
        EncryptedTokenStorage({}, KEY)  # type: ignore[arg-type]  # on purpose


def test_its_repr_names_the_inner_storage_only() -> None:
    """The keys are not shown."""
    assert "<EncryptedTokenStorage in <InMemoryTokenStorage of 0>>" == repr(
        EncryptedTokenStorage(InMemoryTokenStorage(), KEY)
    )


def test_a_pickle_would_carry_the_keys(tmp_path: Path) -> None:
    """So it is refused, while copies keep them."""
    storage = EncryptedTokenStorage(FileTokenStorage(tmp_path / "tokens"), KEY)
    storage.set("key", TOKEN)
    with pytest.raises(TypeError, match="its keys"):
        pickle.dumps(storage)
    assert [TOKEN, TOKEN] == [twin.get("key") for twin in (copy.copy(storage), copy.deepcopy(storage))]


@pytest.mark.slow
def test_a_spawned_child_gets_the_keys(tmp_path: Path) -> None:
    """Multiprocessing hands the storage to a child that it spawns."""
    storage = EncryptedTokenStorage(FileTokenStorage(tmp_path / "tokens"), KEY)
    child = multiprocessing.get_context("spawn").Process(target=storage.set, args=("key", TOKEN))
    child.start()
    child.join(30)
    assert 0 == child.exitcode
    assert TOKEN == storage.get("key")
