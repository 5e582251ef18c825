"""Tokens in files: what they survive."""

import errno
import fcntl
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.secrets_shown import shown

from tokenkit.errors import ConfigurationError, StorageError, StorageLockTimeoutError
from tokenkit.storage import FileTokenStorage
from tokenkit.storage._directory import OwnDirectory
from tokenkit.storage._entry_files import read_entry
from tokenkit.storage._locks.files import _refuse_substitute, _Substitute
from tokenkit.storage._names import entry_name
from tokenkit.testing._contract.concurrency import in_child, killed_in_child
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token

OLD, NEW = Token("old-secret", refresh_token="old-refresh"), Token("new-secret", refresh_token="new-refresh")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tokens"


@pytest.fixture
def storage(directory: Path) -> FileTokenStorage:
    return FileTokenStorage(directory)


@pytest.fixture
def entry(storage: FileTokenStorage, directory: Path) -> Path:
    """The file of an entry that has been written."""
    storage.set("key", OLD)
    return directory / f"{entry_name('key')}.json"


class TestFileTokenStorage(StorageContract):
    lock_slack = 1.0

    @pytest.fixture
    def storage(self, directory: Path) -> FileTokenStorage:
        return FileTokenStorage(directory)

    @pytest.fixture
    def twin(self, directory: Path) -> FileTokenStorage:
        return FileTokenStorage(directory)


# Where files are, and who may read them


def test_the_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a directory it is `tokenkit` in the cache directory of XDG, or of the platform."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert f"<FileTokenStorage {tmp_path / 'tokenkit'}>" == repr(FileTokenStorage())
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert str(Path.home()) in repr(FileTokenStorage())


def test_no_home_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory must say where."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("~nobody-at-all").expanduser())
    with pytest.raises(ConfigurationError):
        FileTokenStorage()


@pytest.mark.posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_files_are_private_from_birth(directory: Path, umask: int) -> None:
    """Files have mode 0600 in a directory of mode 0700, whatever the umask."""
    before = os.umask(umask)
    try:
        directory.parent.mkdir(mode=0o700)
        directory.parent.chmod(0o700)
        storage = FileTokenStorage(directory)
        storage.set("key", OLD)
        with storage.lock("key", 1):
            modes = {path.name.rpartition(".")[2]: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert {"json": 0o600, "lock": 0o600, "write": 0o600} == {k: m for k, m in modes.items() if "-tidied" not in k}
    assert {0o600} == set(modes.values())
    assert 0o700 == directory.stat().st_mode & 0o777


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_a_directory_of_others_is_refused(storage: FileTokenStorage, entry: Path, mode: int) -> None:
    """Where others may look or write, no token is read and none is written."""
    entry.parent.chmod(mode)
    with pytest.raises(StorageError, match="0700"):
        storage.get("key")
    with pytest.raises(StorageError, match="0700"):
        storage.set("key", NEW)


@pytest.mark.posix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_foreign_directory_is_refused(storage: FileTokenStorage, entry: Path) -> None:
    """A directory that another user owns is not trusted, even at mode 0700."""
    os.chown(entry.parent, 65534, 65534)
    with pytest.raises(StorageError):
        storage.get("key")


def test_a_file_in_the_place_of_the_directory_is_an_error(directory: Path) -> None:
    """What cannot be a directory is a StorageError for every method, and no other."""
    directory.parent.mkdir()
    directory.write_text("in the way")
    storage = FileTokenStorage(directory)
    calls: list[Callable[[], object]] = [
        lambda: storage.get("key"),
        lambda: storage.set("key", NEW),
        lambda: storage.delete("key"),
        lambda: storage.clear(),
        lambda: storage.replace("key", None, NEW),
        lambda: storage.delete_if_equal("key", NEW),
        lambda: storage.lock("key", 0).__enter__(),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="not a directory"):
            call()


def test_reading_makes_no_directory(storage: FileTokenStorage, directory: Path) -> None:
    """A storage that was never written to is empty and leaves no trace."""
    assert storage.get("key") is None
    storage.delete("key")
    storage.clear()
    assert not storage.delete_if_equal("key", OLD)
    assert not directory.exists()


def test_a_directory_that_vanishes_is_made_again(storage: FileTokenStorage, entry: Path) -> None:
    """Somebody may clean the cache at any time: the next write starts anew."""
    for path in entry.parent.iterdir():
        path.unlink()
    entry.parent.rmdir()
    assert storage.get("key") is None
    storage.set("key", NEW)
    assert NEW == storage.get("key")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user to lose root's rights")
def test_a_read_only_directory_is_still_read() -> None:
    """Who may not write reads the tokens that are there, and gets a StorageError for the rest."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        Path(name).chmod(0o755)
        (Path(name) / "mine").mkdir(mode=0o700)
        os.chown(Path(name) / "mine", 65534, 65534)

        def child() -> bool:
            os.setgid(65534)
            os.setuid(65534)
            storage = FileTokenStorage(Path(name) / "mine")
            storage.set("key", OLD)
            (Path(name) / "mine").chmod(0o500)
            with pytest.raises(StorageError, match="Permission denied"):
                storage.set("other", NEW)
            return storage.get("key") == OLD

        assert in_child(child)


# What is in the place of an entry


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def scramble(path: Path) -> None:
    path.write_bytes(os.urandom(500))


def inflate(path: Path) -> None:
    os.truncate(path, 100 * 1024 * 1024)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def link_to_a_good_one(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent")


def open_to_the_group(path: Path) -> None:
    path.chmod(0o640)


def open_to_all(path: Path) -> None:
    path.chmod(0o604)


def on_posix(damage: Callable[[Path], None]) -> Any:
    """The case of a damage that Windows does not see, or does not know."""
    return pytest.param(damage, marks=pytest.mark.posix)


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "damage",
    [
        *[truncate, empty, scramble, inflate, link],
        *map(on_posix, [pipe, link_to_a_good_one, dangle, open_to_the_group, open_to_all, give_away]),
    ],
)
def test_what_cannot_be_trusted_is_absent(
    storage: FileTokenStorage, entry: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged and foreign content counts as absent, is logged once without its content, and is healed by a set."""
    damage(entry)
    with caplog.at_level(logging.WARNING, "tokenkit"):
        assert [None, None] == [storage.get("key"), storage.get("key")]
    assert 1 == len(caplog.records)
    assert "secret" not in caplog.text
    storage.set("key", NEW)
    assert NEW == storage.get("key")
    assert 0o600 == entry.lstat().st_mode & 0o777


@pytest.mark.posix
@pytest.mark.parametrize("damage", [inflate, pipe, link, open_to_the_group, open_to_all, give_away])
def test_what_cannot_be_trusted_is_told_to_who_would_spend_a_refresh_token(
    storage: FileTokenStorage, entry: Path, damage: Callable[[Path], None]
) -> None:
    """In a strict look it is a StorageError: the newest refresh token may be in it."""
    damage(entry)
    with pytest.raises(StorageError, match="what is there cannot be read") as caught:
        storage.get_strict("key")
    assert "secret" not in shown(caught.value)


@pytest.mark.parametrize("damage", [truncate, empty, scramble])
def test_junk_is_absent_to_whoever_looks(
    storage: FileTokenStorage, entry: Path, damage: Callable[[Path], None]
) -> None:
    """There is no token in it that anybody could have read."""
    damage(entry)
    assert storage.get_strict("key") is None


def test_what_is_not_there_is_absent_to_whoever_looks(storage: FileTokenStorage, entry: Path) -> None:
    """No such key, or no directory yet, is a clear answer."""
    assert storage.get_strict("other") is None
    assert FileTokenStorage(entry.parent / "none" / "yet").get_strict("key") is None


@pytest.mark.parametrize("damage", [scramble, on_posix(pipe), link])
def test_a_damaged_entry_is_replaced(storage: FileTokenStorage, entry: Path, damage: Callable[[Path], None]) -> None:
    """Where absence is expected, damage is what was expected."""
    damage(entry)
    assert storage.replace("key", None, NEW)
    assert NEW == storage.get("key")


def test_a_symlink_is_never_written_through(storage: FileTokenStorage, entry: Path, tmp_path: Path) -> None:
    """Setting over a link replaces the link and leaves its target as it was."""
    target = tmp_path / "target"
    target.write_text("untouched")
    entry.unlink()
    entry.symlink_to(target)
    storage.set("key", NEW)
    assert "untouched" == target.read_text()
    assert not entry.is_symlink()


def test_a_token_too_large_to_read_is_not_written(storage: FileTokenStorage, entry: Path) -> None:
    """More than 1 MiB is refused; what was there stays."""
    with pytest.raises(StorageError, match="1 MiB") as caught:
        storage.set("key", Token("secret" * 200_000))
    assert "secret" not in shown(caught.value)
    assert OLD == storage.get("key")


def test_clear_spares_the_files_of_others(storage: FileTokenStorage, entry: Path) -> None:
    """What the storage did not write, it does not delete."""
    other = entry.with_name("settings.json")
    other.write_text("{}")
    storage.clear()
    assert (True, False) == (other.exists(), entry.exists())


# Death and full disks


@pytest.fixture
def crash() -> Callable[[FileTokenStorage, str], None]:
    """Kill a child of this process within its write, at the call of the system function that is named."""

    def run(storage: FileTokenStorage, name: str) -> None:
        def child() -> None:
            def die(*args: object, **options: object) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(Path if name == "replace" else os, name, die)
            storage.set("key", NEW)

        assert killed_in_child(child)

    return run


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_writer_killed_before_the_rename_leaves_the_old_token(
    storage: FileTokenStorage, entry: Path, crash: Callable[[FileTokenStorage, str], None], step: str
) -> None:
    """Whatever step of a write is the last, the entry is whole, the lock is free, and clear tidies up."""
    crash(storage, step)
    assert OLD == storage.get("key")
    assert storage.replace("key", OLD, NEW)
    assert NEW == storage.get("key")
    storage.clear()
    assert [] == list(entry.parent.glob(".*.tmp"))


def test_a_writer_killed_after_the_rename_leaves_the_new_token(storage: FileTokenStorage, entry: Path) -> None:
    """From the rename on the new token is there, whole."""

    def child() -> None:
        rename = Path.replace

        def rename_and_die(path: Path, target: Path) -> None:
            rename(path, target)
            os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = rename_and_die  # type: ignore[method-assign, assignment]  # in this child alone
        storage.set("key", NEW)

    assert killed_in_child(child)
    assert NEW == storage.get("key")
    assert [] == list(entry.parent.glob(".*.tmp"))


def test_clear_waits_for_a_live_writer(storage: FileTokenStorage, entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write under way is not cut short, by a container either that does not see the writer's process."""
    writing, goes_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def wait(descriptor: int) -> None:
        writing.set()
        assert goes_on.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", wait)
    with ThreadPoolExecutor() as pool:
        write = pool.submit(storage.set, "key", NEW)
        assert writing.wait(10)
        clear = pool.submit(FileTokenStorage(entry.parent).clear)
        with pytest.raises(FutureTimeoutError):
            clear.result(0.3)
        goes_on.set()
        assert (None, None) == (write.result(10), clear.result(10))
    assert storage.get("key") is None


@pytest.fixture
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of 'key', and says so first."""
    script = (
        "import sys, time; from tokenkit.storage import FileTokenStorage\n"
        "with FileTokenStorage(sys.argv[1]).lock('key', 10): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process
        process.kill()


def test_the_kill_of_its_holder_frees_the_lock(storage: FileTokenStorage, holder: subprocess.Popen[str]) -> None:
    """A lock held by another process is waited for; after kill -9 of that process it is free at once."""
    with pytest.raises(StorageLockTimeoutError), storage.lock("key", 0.2):
        pass
    holder.kill()
    holder.wait(10)
    with storage.lock("key", 1):
        pass


def test_a_stopped_holder_costs_the_timeout(storage: FileTokenStorage, holder: subprocess.Popen[str]) -> None:
    """A live process that holds the lock for ever costs a waiter its timeout and no more; reads and writes go on."""
    holder.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StorageLockTimeoutError), storage.lock("key", 0.2):
        pass
    assert time.monotonic() - started < 2
    storage.set("key", NEW)
    assert NEW == storage.get("key")


# What is of no more use


def age(directory: Path, hours: float) -> None:
    """Let all that is in *directory* be that much older."""
    for path in directory.iterdir():
        before = path.lstat().st_mtime - hours * 3600
        os.utime(path, (before, before), follow_symlinks=False)  # what a link leads to is not ours to change


def kinds(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir() if not path.name.startswith("."))


def test_a_token_that_rotates_each_hour_leaves_no_files(storage: FileTokenStorage, directory: Path) -> None:
    """Each has a key of its own, as a projected token has: what expired over an hour ago goes, with its lock files."""
    for hour in range(6):
        now = datetime.now(timezone.utc)
        with storage.lock(f"token {hour}", 1):
            storage.replace(f"token {hour}", None, Token(f"t{hour}", expires_at=now - timedelta(hours=1.5)))
        age(directory, 3)
    storage.set("next", NEW)
    assert 1 == kinds(directory).count(".json")
    assert [] == [path for path in directory.iterdir() if path.stat().st_mtime < time.time() - 3600]


def test_an_entry_with_a_refresh_token_outlives_its_access_token(storage: FileTokenStorage, directory: Path) -> None:
    """It stays for 400 days after it was written, and is gone after that."""
    expired = Token("a", expires_at=datetime.now(timezone.utc) - timedelta(days=1), refresh_token="r")
    storage.set("key", expired)
    age(directory, 399 * 24)
    storage.set("other", NEW)
    assert expired == storage.get("key")
    age(directory, 2 * 24)
    storage.set("other", NEW)
    assert storage.get("key") is None


@pytest.mark.posix
@pytest.mark.parametrize("damage", [scramble, open_to_the_group, link])
def test_what_cannot_be_read_is_not_tidied_away(
    storage: FileTokenStorage, entry: Path, damage: Callable[[Path], None]
) -> None:
    """It may be somebody's, and no age makes it worthless."""
    damage(entry)
    age(entry.parent, 9999)
    storage.set("other", NEW)
    assert os.path.lexists(entry)


def test_tidying_happens_once_an_hour(storage: FileTokenStorage, directory: Path) -> None:
    """However many processes write."""
    storage.set("old", Token("a", expires_at=datetime.now(timezone.utc) - timedelta(days=1)))
    storage.set("key", NEW)
    outdated = directory / f"{entry_name('old')}.json"
    os.utime(outdated, (0, 0))
    FileTokenStorage(directory).set("key", NEW)
    assert outdated.exists()
    age(directory, 2)
    FileTokenStorage(directory).set("key", NEW)
    assert not outdated.exists()


def test_what_a_killed_writer_left_goes_with_the_rest(storage: FileTokenStorage, entry: Path) -> None:
    """The entry that it was to replace stays, unless it is of no more use itself."""
    leftover = entry.with_name(f".{entry.name}.1234.tmp")
    leftover.write_text("half a token")
    age(entry.parent, 2)
    storage.set("other", NEW)
    assert (False, OLD) == (leftover.exists(), storage.get("key"))


def test_tidying_that_fails_costs_nothing(
    storage: FileTokenStorage, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is written; there is another time for the rest."""
    storage.set("old", Token("a", expires_at=datetime.now(timezone.utc) - timedelta(days=1)))
    age(entry.parent, 2)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".json":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    storage.set("key", NEW)
    assert NEW == storage.get("key")


def test_a_lock_file_that_is_young_is_left(storage: FileTokenStorage, directory: Path) -> None:
    """Somebody may be about to lock it; it is removed when it was made an hour ago."""
    with storage.lock("mine", 1):
        pass
    young = directory / f"{entry_name('mine')}.lock"
    assert young.exists()
    os.utime(directory / ".locks-tidied", (0, 0))
    with storage.lock("other", 1):
        assert young.exists()
    os.utime(young, (0, 0))
    os.utime(directory / ".locks-tidied", (0, 0))
    with storage.lock("other", 1):
        assert not young.exists()


def test_where_python_has_no_flock_filelocks_own_serves(tmp_path: Path) -> None:
    """As on Windows: one holder at a time, even in one thread, and the next as soon as it is free."""
    one, other = (_Substitute(tmp_path / "lock", 0o600) for _ in range(2))
    assert one.acquire(0.0)
    assert not other.acquire(0.05)
    one.release()
    assert other.acquire(0.0)
    other.release()


def test_a_name_that_the_system_refuses_is_an_error(directory: Path) -> None:
    """That is no entry of another user's, which would count as absent."""
    with pytest.raises(OSError, match="File name too long"):
        read_entry(OwnDirectory(directory.parent.parent), "x" * 300)


def test_a_lock_that_is_held_keeps_its_file(
    storage: FileTokenStorage, holder: subprocess.Popen[str], directory: Path
) -> None:
    """Tidying up, at whatever age, takes no lock away from a live process."""
    age(directory, 9999)
    storage.set("other", NEW)
    with pytest.raises(StorageLockTimeoutError), storage.lock("key", 0.1):
        pass


def test_a_lock_whose_file_was_removed_while_one_waited_has_one_holder(
    storage: FileTokenStorage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened a lock file that its holder removed before the lock was free takes the lock anew, by its name."""
    flock = fcntl.flock
    removed: list[Path] = []

    def lock_late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.extend(directory.glob("*.lock"))
            removed[0].unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with storage.lock("key", 1):
        assert removed == list(directory.glob("*.lock"))
        with pytest.raises(StorageLockTimeoutError), FileTokenStorage(directory).lock("key", 0):
            pass


# Other members of a group


@pytest.mark.posix
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
def test_a_volume_of_a_group_is_trusted_on_demand() -> None:
    """As Kubernetes makes it for fsGroup: a directory of root's with mode 2770, for pods with users of their own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        volume = Path(name) / "tokens"
        volume.mkdir()
        os.chown(volume, 0, 4321)
        volume.chmod(0o2770)

        def pod(user: int, work: Callable[[FileTokenStorage], bool]) -> bool:
            def child() -> bool:
                os.setgroups([4321])
                os.setgid(user)
                os.setuid(user)
                return work(FileTokenStorage(volume, trust_group=True))

            return in_child(child)

        def first(storage: FileTokenStorage) -> bool:
            with storage.lock("key", 1):
                return storage.replace("key", None, OLD)

        def second(storage: FileTokenStorage) -> bool:
            with storage.lock("key", 1):
                return storage.get_strict("key") == OLD and storage.replace("key", OLD, NEW)

        assert pod(60001, first)
        assert pod(60002, second)
        assert pod(60001, lambda storage: storage.get_strict("key") == NEW)
        assert {0o660} == {path.stat().st_mode & 0o777 for path in volume.iterdir()}


@pytest.mark.posix
def test_a_mount_that_adds_the_group_is_trusted_on_demand(directory: Path) -> None:
    """Each mount of a volume with fsGroup adds g+rw to what is there: the newest refresh token is still read."""
    FileTokenStorage(directory).set("key", OLD)
    directory.chmod(0o2770)
    for path in directory.iterdir():
        path.chmod(0o660)
    assert OLD == FileTokenStorage(directory, trust_group=True).get_strict("key")
    with pytest.raises(StorageError, match="trust_group=True"):
        FileTokenStorage(directory).get_strict("key")


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o777, 0o2775, 0o701])
def test_a_directory_of_all_is_refused_all_the_same(directory: Path, mode: int) -> None:
    """A group is a group of this process's: what others may open is nobody's to trust."""
    storage = FileTokenStorage(directory, trust_group=True)
    storage.set("key", OLD)
    directory.chmod(mode)
    with pytest.raises(StorageError, match="open to others"):
        storage.get("key")


@pytest.mark.posix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_a_foreign_group_is_refused(directory: Path) -> None:
    """One that is open to a group which this process is not in is open to others."""
    storage = FileTokenStorage(directory, trust_group=True)
    storage.set("key", OLD)
    os.chown(directory, os.geteuid(), 4321)
    with pytest.raises(StorageError, match="not in"):
        storage.get("key")


@pytest.mark.posix
def test_a_new_directory_is_open_to_the_group_on_demand(directory: Path) -> None:
    """Directory and files get the modes that their next reader will want."""
    storage = FileTokenStorage(directory, trust_group=True)
    storage.set("key", OLD)
    assert 0o770 == directory.stat().st_mode & 0o777
    assert {0o660} == {path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert OLD == pickle.loads(pickle.dumps(storage)).get_strict("key")


def _no_flock(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_flock_is_refused(
    storage: FileTokenStorage, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock is better than one that outlives its holder, or whose file may vanish: it is a StorageError at once."""
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    for _ in range(2):
        with pytest.raises(StorageError) as refused, storage.lock("key", 0):
            pass
        assert not isinstance(refused.value, StorageLockTimeoutError)
        with pytest.raises(StorageError):
            storage.set("key", NEW)
    assert (OLD, True) == (storage.get("key"), entry.exists())
    monkeypatch.undo()
    storage.set("key", NEW)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_lock_that_has_become_soft_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that filelock made soft, by its class or by a flag alone, counts as none, and is let go."""
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    lock = FileLock(tmp_path / "lock", fallback_to_soft=True)
    lock.acquire()
    with pytest.raises(OSError, match="no flock"):
        _refuse_substitute(lock)  # private: FileLocks itself asks for no such lock
    assert not lock.is_locked


def test_a_platform_without_flock_is_refused(directory: Path) -> None:
    """Where Python has no fcntl, filelock has soft locks alone: a StorageError says so."""
    script = (
        "import sys, traceback, warnings; sys.modules['fcntl'] = None; warnings.simplefilter('ignore')\n"
        "from tokenkit.storage import FileTokenStorage; from tokenkit.tokens import Token\n"
        "try: FileTokenStorage(sys.argv[1]).set('key', Token('secret'))\n"
        "except Exception: traceback.print_exc()\n"
    )
    command = [sys.executable, "-c", script, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "StorageError: locking a file failed: the file system has no flock" in done.stderr


def test_a_full_disk_keeps_the_old_token(storage: FileTokenStorage, entry: Path) -> None:
    """A write that finds no room is a StorageError, and leaves the old token and no temporary file."""
    script = (
        "import resource, sys, traceback\n"
        "from tokenkit.storage import FileTokenStorage; from tokenkit.tokens import Token\n"
        "before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))\n"
        "try: FileTokenStorage(sys.argv[1]).set('key', Token('new-secret' * 50))\n"
        "except Exception: traceback.print_exc()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, before)"  # what measures coverage writes files too
    )
    command = [sys.executable, "-c", script, str(entry.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "StorageError: writing an entry failed: File too large" in done.stderr
    assert 1 == done.stderr.count("Traceback")
    assert OLD == storage.get("key")
    assert [] == list(entry.parent.glob(".*.tmp"))


@pytest.mark.posix
def test_a_new_token_is_on_disk_before_it_has_its_name(
    storage: FileTokenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write syncs the file, then renames it, then syncs the directory."""
    calls: list[str] = []
    fsync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda path, target: (calls.append("rename"), rename(path, target))[1])
    storage.set("key", OLD)
    assert ["fsync", "rename", "fsync"] == calls


def test_a_system_that_cannot_sync_directories_still_stores(
    storage: FileTokenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync of a directory is left out where it is not to be had."""
    fsync = os.fsync

    def fsync_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - of a descriptor
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_files)
    storage.set("key", NEW)
    assert NEW == storage.get("key")


def test_a_failed_write_shows_no_secret(
    storage: FileTokenStorage, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the error nor the variables of its traceback have the token that could not be written."""

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    for write in (lambda: storage.set("key", NEW), lambda: storage.replace("key", OLD, NEW)):
        with pytest.raises(StorageError, match="No space left") as caught:
            write()
        assert "secret" not in shown(caught.value)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    assert [] == list(entry.parent.glob(".*.tmp"))


def test_a_token_that_is_no_json_shows_no_secret(storage: FileTokenStorage) -> None:
    """What cannot be encoded is a StorageError without the token."""
    with pytest.raises(StorageError, match="JSON") as caught:
        storage.set("key", Token("a-secret", refresh_token="r-secret", extra={"odd": object()}))
    assert "secret" not in shown(caught.value)


@pytest.mark.slow
def test_a_reader_beside_two_writers(storage: FileTokenStorage) -> None:
    """While two processes write, each read is a whole token, of one or of the other."""
    tokens = {letter: Token(letter * 20_000, refresh_token=letter) for letter in "abcd"}
    storage.set("key", tokens["a"])
    script = (
        "import sys; from tokenkit.errors import StorageLockTimeoutError\n"
        "from tokenkit.storage import FileTokenStorage; from tokenkit.tokens import Token\n"
        "storage = FileTokenStorage(sys.argv[1])\n"
        "while True:\n"
        "    for letter in sys.argv[2]:\n"
        "        try: storage.set('key', Token(letter * 20_000, refresh_token=letter))\n"
        "        except StorageLockTimeoutError: pass"  # a busy machine: the other writer may have all the turns
    )
    command = [sys.executable, "-c", script, str(storage._directory.path)]
    writers = [subprocess.Popen([*command, letters]) for letters in ("ab", "cd")]
    reads: Counter[str] = Counter()
    end = time.monotonic() + 45
    try:
        while min(reads[letter] for letter in tokens) < 100 and time.monotonic() < end:
            read = storage.get("key")
            reads[next((letter for letter, token in tokens.items() if token == read), "damaged")] += 1
        assert [None, None] == [writer.poll() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)
    assert set(tokens) == set(reads)
    assert min(reads.values()) >= 100
