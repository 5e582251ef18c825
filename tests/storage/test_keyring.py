"""Tokens in a keyring: a backend of the keyring package that keeps what it is given in a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import needs
from support.secrets_shown import shown

from tokenkit.errors import ConfigurationError, StorageError
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token

keyring = needs.module("keyring")
from keyring.backend import KeyringBackend  # noqa: E402 - needs keyring

from tokenkit.storage import KeyringTokenStorage  # noqa: E402 - needs keyring

TOKEN = Token("access-secret", refresh_token="refresh-secret")


class FileRing(KeyringBackend):
    """A keyring that keeps its passwords in a file of its own, as a real one keeps them in its daemon."""

    priority = 0  # type: ignore[assignment]  # never chosen by itself

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def passwords(self) -> dict[str, str]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def save(self, passwords: dict[str, str]) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(passwords))
        part.replace(self.path)

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.save({**self.passwords(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        passwords = self.passwords()
        if f"{service}/{username}" not in passwords:
            raise keyring.errors.PasswordDeleteError("not found")
        del passwords[f"{service}/{username}"]
        self.save(passwords)


class SmallRing(FileRing):
    """A keyring that takes as much as Windows does."""

    def set_password(self, service: str, username: str, password: str) -> None:
        if len(password.encode("utf-16-le")) > 2560:
            raise OSError(1783, "The stub received bad data")
        super().set_password(service, username, password)


class LockedRing(FileRing):
    """A keyring whose user did not unlock it."""

    def passwords(self) -> dict[str, str]:
        raise keyring.errors.KeyringLocked("access-secret")


@pytest.fixture
def ring(tmp_path: Path) -> FileRing:
    return FileRing(tmp_path / "ring.json")


@pytest.fixture
def make(ring: FileRing, tmp_path: Path) -> Callable[..., KeyringTokenStorage]:
    def make(service: str = "tokenkit", backend: Any = ring) -> KeyringTokenStorage:
        return KeyringTokenStorage(service, backend=backend, lock_directory=tmp_path / "locks")

    return make


class TestKeyringTokenStorage(StorageContract):
    @pytest.fixture
    def storage(self, make: Callable[..., KeyringTokenStorage]) -> KeyringTokenStorage:
        return make()

    @pytest.fixture
    def twin(self, make: Callable[..., KeyringTokenStorage]) -> KeyringTokenStorage:
        return make()


def test_a_relative_directory_stays_where_it_was(
    ring: FileRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its directory meanwhile keeps its locks."""
    monkeypatch.chdir(tmp_path)
    storage = KeyringTokenStorage("service", backend=ring, lock_directory="locks")
    monkeypatch.chdir("/")
    storage.set("key", TOKEN)
    assert (tmp_path / "locks").is_dir()


def test_clear_leaves_no_secret_in_the_keyring(ring: FileRing, make: Callable[..., KeyringTokenStorage]) -> None:
    """What is cleared is gone from the keyring itself, and other services' entries are not."""
    for service in ("mine", "yours"):
        make(service).set("one", TOKEN)
        make(service).set("two", TOKEN)
    make("mine").clear()
    assert {"yours"} == {name.split("/")[0] for name, text in ring.passwords().items() if "secret" in text}
    assert TOKEN == make("yours").get("one")


def test_many_keys_fit_a_keyring_of_small_entries(make: Callable[..., KeyringTokenStorage], tmp_path: Path) -> None:
    """Windows takes 2,560 bytes an entry: no entry grows with the number of keys."""
    storage = make(backend=SmallRing(tmp_path / "small"))
    for number in range(40):
        storage.set(f"client_credentials:idp{number}.example.com:shop:{number:040x}", Token("a"))
    storage.clear()
    assert [None] == list({storage.get(f"client_credentials:idp{n}.example.com:shop:{n:040x}") for n in range(40)})


def test_a_keyring_that_keeps_nothing_says_so(make: Callable[..., KeyringTokenStorage]) -> None:
    """With the null backend, as after ``keyring --disable``, each write is a StorageError."""
    storage = make(backend=needs.module("keyring.backends.null").Keyring())
    for write in (lambda: storage.set("key", TOKEN), lambda: storage.replace("key", None, TOKEN)):
        with pytest.raises(StorageError, match="did not keep"):
            write()
    assert storage.get("key") is None


def test_a_service_is_text() -> None:
    """What is none is refused before the keyring is asked."""
    with pytest.raises(ConfigurationError, match="service"):
        KeyringTokenStorage(None)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("damage", ["", "junk-secret", "{}", '{"access_token": 7}', "[]", "\x00"])
def test_a_damaged_entry_is_absent(
    ring: FileRing, make: Callable[..., KeyringTokenStorage], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a person or a program put in its place is logged once without its content, and healed by a write."""
    storage = make()
    storage.set("key", TOKEN)
    (name,) = (name for name in ring.passwords() if name.startswith("tokenkit/key-"))
    ring.set_password("tokenkit", name.partition("/")[2], damage)
    assert [None, None] == [storage.get("key"), storage.get("key")]
    assert 1 == len(caplog.records)
    assert "secret" not in caplog.text
    assert not storage.delete_if_equal("key", TOKEN)
    assert storage.replace("key", None, TOKEN)
    assert TOKEN == storage.get("key")


def test_a_locked_keyring_is_a_storage_error(make: Callable[..., KeyringTokenStorage], tmp_path: Path) -> None:
    """Whatever a keyring raises becomes a StorageError that quotes none of it."""
    storage = make(backend=LockedRing(tmp_path / "locked"))
    calls: list[Callable[[], object]] = [
        lambda: storage.get("key"),
        lambda: storage.set("key", TOKEN),
        lambda: storage.delete("key"),
        storage.clear,
        lambda: storage.replace("key", None, TOKEN),
        lambda: storage.delete_if_equal("key", TOKEN),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="KeyringLocked") as caught:
            call()
        assert "secret" not in shown(caught.value)
        assert caught.value.__context__ is None


def test_the_keyring_of_the_system_is_the_default(
    ring: FileRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a backend it is the one that keyring is set to, asked for at each use."""
    before = keyring.get_keyring()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    storage = KeyringTokenStorage("mine")
    keyring.set_keyring(ring)
    try:
        storage.set("key", TOKEN)
    finally:
        keyring.set_keyring(before)
    assert any(name.startswith("mine/key-") for name in ring.passwords())
    assert (tmp_path / "cache" / "tokenkit" / "locks").is_dir()
