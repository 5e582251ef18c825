"""The package of storages: what importing it costs, and what it tells."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import needs
from support.interrupts import unmeasured

import tokenkit.storage
from tokenkit.errors import ConfigurationError, StorageError
from tokenkit.storage import _directory, _failures, _names

EXTRAS = {"cryptography", "django", "filelock", "keyring", "redis"}


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def test_a_storage_costs_its_users_alone() -> None:
    """Importing the package, and the storage in memory, loads no optional package and no filelock."""
    script = "import sys; from tokenkit.storage import InMemoryTokenStorage; print(*sys.modules)"
    assert set() == EXTRAS & set(run(script).split())


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("DjangoCacheTokenStorage", "django", "django"),
        ("RedisTokenStorage", "redis", "redis"),
        ("KeyringTokenStorage", "keyring", "keyring"),
        ("EncryptedTokenStorage", "cryptography", "crypto"),
    ],
)
def test_a_missing_extra_is_named(name: str, module: str, extra: str) -> None:
    """Where an optional package is missing, the ImportError says what to install."""
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"try: from tokenkit.storage import {name}\n"
        "except ImportError as error: print(error)"
    )
    assert f"pip install 'requests-tokenkit[{extra}]'" in run(script)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The package has the names that it lists, and no others."""
    with pytest.raises(AttributeError, match="NoSuchStorage"):
        tokenkit.storage.NoSuchStorage  # noqa: B018
    assert set(tokenkit.storage.__all__) <= set(dir(tokenkit.storage))


def test_names_are_short_and_safe() -> None:
    """Whatever the key, its name has few characters and only harmless ones."""
    for key in ("", "../../etc/passwd", "k" * 10_000, "\udc80\0 *"):
        name = _names.entry_name(key)
        assert len(name) <= 105
        assert name.replace("_", "").replace("-", "").isalnum()


def test_names_of_two_namespaces_never_meet() -> None:
    """A namespace and a key do not run into each other."""
    assert _names.entry_name("bc", "a") != _names.entry_name("c", "ab")


def test_a_failure_is_told_by_its_kind_alone() -> None:
    """What a client library raised is neither quoted nor chained."""

    def fail() -> None:
        raise KeyError("secret")

    with pytest.raises(StorageError) as caught:
        _failures.guarded("reading", fail)
    assert "reading failed: KeyError" == str(caught.value)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)


def test_of_two_who_make_the_directory_one_may_be_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that appears between looking and making is used like any other."""
    directory = tmp_path / "tokens"
    mkdir = Path.mkdir

    def be_late(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if path == directory:
            mkdir(path, 0o700)
        mkdir(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", be_late)
    assert directory == _directory.OwnDirectory(directory).made()


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_what_is_made_above_a_directory_is_private_too(tmp_path: Path, umask: int) -> None:
    """The lock files of one storage are below the directory of another, which would refuse it otherwise."""
    tmp_path.chmod(0o755)
    before = os.umask(umask)
    try:
        _directory.OwnDirectory(tmp_path / "cache" / "tokenkit" / "locks").made()
    finally:
        os.umask(before)
    assert tmp_path / "cache" / "tokenkit" == _directory.OwnDirectory(tmp_path / "cache" / "tokenkit").made()
    assert 0o755 == tmp_path.stat().st_mode & 0o777


def test_without_a_home_locks_are_below_the_temporary_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a directory for each user, so that nobody finds the place taken."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("~nobody-at-all").expanduser())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = _directory.lock_directory(None)
    assert (tmp_path, "locks") == (place.parent.parent, place.name)
    assert place.parent.name.startswith("tokenkit-")


def test_what_cannot_be_marked_as_tidied_is_not_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is not there, or cannot be written to, is left alone."""
    assert not _directory.OwnDirectory(tmp_path / "missing").is_to_be_tidied("locks", 1.0)
    directory = _directory.OwnDirectory(tmp_path)
    assert directory.is_to_be_tidied("locks", 1.0)
    os.utime(tmp_path / ".locks-tidied", (0, 0))

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert not directory.is_to_be_tidied("locks", 1.0)


HOMELESS = """
import os, sys
if hasattr(sys, "set_lazy_imports_filter"):
    sys.set_lazy_imports_filter(lambda *_: False)  # that user may not read what is imported later
from tokenkit.storage import {name}
os.environ.pop("HOME", None)
os.environ.pop("XDG_CACHE_HOME", None)
os.environ["TMPDIR"] = sys.argv[1]
os.setgid(54321)
os.setuid(54321)  # as in a container with a user that nobody entered
{use}
"""


@pytest.mark.posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("DjangoCacheTokenStorage", "print(DjangoCacheTokenStorage())"),
        ("KeyringTokenStorage", "with KeyringTokenStorage().lock('key', 1): print('locked')"),
        ("RedisTokenStorage", "print(RedisTokenStorage('redis://127.0.0.1:1'))"),
    ],
)
@unmeasured  # the child is another user, who may not write where coverage does
def test_no_storage_needs_a_home_directory_for_its_locks(name: str, use: str) -> None:
    """Its constructor, which may run at the import of a settings module, asks for none, and locks go elsewhere."""
    needs.module({"D": "django", "K": "keyring", "R": "redis"}[name[0]])
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o1777)
        command = [sys.executable, "-c", HOMELESS.format(name=name, use=use), directory]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "" == done.stderr


@pytest.mark.parametrize("name", ["DjangoCacheTokenStorage", "FileTokenStorage", "KeyringTokenStorage"])
def test_a_tilde_is_the_home_directory(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory given as '~/x' is never one called '~' where the program happens to run."""
    needs.module({"D": "django", "F": "filelock", "K": "keyring"}[name[0]])
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"directory" if name[0] == "F" else "lock_directory": "~/tokens"}
    storage = getattr(tokenkit.storage, name)(**given)
    arguments = storage.__reduce__()
    assert str(tmp_path / "tokens") in str([arguments, getattr(arguments[0], "keywords", {})])


@pytest.mark.parametrize("directory", ["", 5, "~nobody-at-all/x"])
def test_a_directory_is_a_path(directory: object) -> None:
    """An empty one would be wherever the program happens to run."""
    with pytest.raises(ConfigurationError, match="directory must"):
        tokenkit.storage.FileTokenStorage(directory)  # type: ignore[arg-type]  # on purpose
