"""Tokens in Django's caches: every backend that Django has, and django-redis."""

import logging
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support import daemons, needs
from support.daemons import Daemon
from support.secrets_shown import shown

from tokenkit import TokenManager
from tokenkit.errors import ConfigurationError, StorageError, StorageLockTimeoutError
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage.codec import encode
from tokenkit.testing import LocalIdP
from tokenkit.testing._contract.concurrency import in_child, in_threads
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token

django = needs.module("django")
from django.conf import settings  # noqa: E402 - needs django
from django.core.cache import caches  # noqa: E402 - needs django
from django.core.management import call_command  # noqa: E402 - needs django

from tokenkit.storage import DjangoCacheTokenStorage  # noqa: E402 - needs django

pytestmark = pytest.mark.server

OLD, NEW = Token("old-secret", refresh_token="r"), Token("new-secret", refresh_token="r")
CORE = "django.core.cache.backends"


@pytest.fixture(scope="session", autouse=True)
def _project(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Settings such as a project's; the caches come with the tests."""
    if not settings.configured:
        name = tmp_path_factory.mktemp("database") / "db.sqlite3"
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": {"timeout": 20}}
        settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True)
        django.setup()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Daemon]]:
    """Start a redis-server or a memcached when it is first asked for."""
    running: dict[str, Daemon] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Daemon:
            if kind not in running:
                manager = (
                    daemons.redis_server(tmp_path_factory.mktemp("redis")) if kind == "redis" else daemons.memcached()
                )
                running[kind] = stack.enter_context(manager)
            return running[kind]

        yield start


@pytest.fixture
def use_cache(tmp_path: Path) -> Iterator[Callable[..., Callable[..., DjangoCacheTokenStorage]]]:
    """Make a cache the default one; the answer makes storages on it."""
    # Imported here, as it brings half of Django, which each worker would load to collect the tests.
    from django.test.utils import override_settings

    with ExitStack() as stack:

        def use(backend: str, location: str = "", **options: Any) -> Callable[..., DjangoCacheTokenStorage]:
            cache = {"BACKEND": backend, "LOCATION": location, **options}
            stack.enter_context(override_settings(CACHES={"default": cache}))
            return lambda *args, **kwargs: DjangoCacheTokenStorage(*args, lock_directory=tmp_path / "locks", **kwargs)

        yield use
        caches.close_all()


class CacheContract(StorageContract):
    """The contract, on the cache that :meth:`make` sets up."""

    @pytest.fixture
    def storage(self, make: Callable[..., DjangoCacheTokenStorage]) -> Iterator[DjangoCacheTokenStorage]:
        storage = make()
        storage.clear()
        yield storage
        storage.close()

    @pytest.fixture
    def twin(self, make: Callable[..., DjangoCacheTokenStorage]) -> Iterator[DjangoCacheTokenStorage]:
        twin = make()
        yield twin
        twin.close()

    @pytest.fixture
    def mortal(
        self, make: Callable[..., DjangoCacheTokenStorage], storage: DjangoCacheTokenStorage
    ) -> Iterator[DjangoCacheTokenStorage]:
        mortal = make(lock_lease=1)
        yield mortal
        mortal.close()


class TestLocMem(CacheContract):
    between_processes = False

    @pytest.fixture
    def make(self, use_cache: Any, tmp_path: Path) -> Any:
        return use_cache(f"{CORE}.locmem.LocMemCache", str(tmp_path))


class TestFiles(CacheContract):
    @pytest.fixture
    def make(self, use_cache: Any, tmp_path: Path) -> Any:
        return use_cache(f"{CORE}.filebased.FileBasedCache", str(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestDatabase(CacheContract):
    """Django leaves a thread's database connection to the collector, of which Python 3.13 warns."""

    @pytest.fixture
    def make(self, use_cache: Any) -> Iterator[Any]:
        make = use_cache(f"{CORE}.db.DatabaseCache", "cache_table")
        call_command("createcachetable", verbosity=0)
        yield make
        django.db.connections.close_all()


class TestRedis(CacheContract):
    @pytest.fixture
    def make(self, use_cache: Any, servers: Callable[[str], Daemon]) -> Any:
        needs.module("redis")
        return use_cache(f"{CORE}.redis.RedisCache", servers("redis").redis_url)


class TestDjangoRedis(CacheContract):
    @pytest.fixture
    def make(self, use_cache: Any, servers: Callable[[str], Daemon]) -> Any:
        needs.module("django_redis")
        return use_cache("django_redis.cache.RedisCache", servers("redis").redis_url, KEY_PREFIX="dr")


class TestMemcached(CacheContract):
    @pytest.fixture
    def make(self, use_cache: Any, servers: Callable[[str], Daemon]) -> Any:
        needs.module("pymemcache")
        return use_cache(f"{CORE}.memcached.PyMemcacheCache", servers("memcached").address)


# What is in the cache


@pytest.fixture
def make(use_cache: Any, tmp_path: Path) -> Callable[..., DjangoCacheTokenStorage]:
    """Storages on a LocMem cache of this test's own."""
    return use_cache(f"{CORE}.locmem.LocMemCache", str(tmp_path))


def test_values_are_json_text(make: Callable[..., DjangoCacheTokenStorage]) -> None:
    """What stands in the cache is a string that any language reads."""
    storage = make()
    storage.set("key", OLD)
    value = caches["default"].get(storage._entry("key", str(storage._read_generation())))
    assert value.startswith('{"version":1,')


@pytest.mark.parametrize(
    ("seconds", "kept"), [(50, 51), (0.3, 2), (400 * 24 * 3600, 400 * 24 * 3600 + 1), (3000 * 24 * 3600, None)]
)
def test_entries_expire_in_whole_seconds(
    make: Callable[..., DjangoCacheTokenStorage],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    kept: int | None,
) -> None:
    """An entry is given its token's life, rounded up; years are no end, since memcached has none after 2038."""
    from django.core.cache.backends.locmem import LocMemCache

    timeouts: list[object] = []
    put = LocMemCache.set

    def record(cache: Any, name: str, value: Any, timeout: Any = None, version: Any = None) -> None:
        timeouts.append(timeout)
        put(cache, name, value, timeout, version)

    storage = make()
    storage.clear()
    monkeypatch.setattr(LocMemCache, "set", record)
    storage.set("key", Token.from_response({"access_token": "a", "expires_in": seconds}))
    assert [kept] == [timeout and pytest.approx(timeout, abs=1) for timeout in timeouts]


def test_prefixes_are_apart(make: Callable[..., DjangoCacheTokenStorage]) -> None:
    """A prefix and a key never run into each other, and clearing forgets one prefix alone."""
    one, two = make(key_prefix="a"), make(key_prefix="ab")
    one.set("bc", OLD)
    two.set("c", NEW)
    assert (OLD, NEW) == (one.get("bc"), two.get("c"))
    one.clear()
    assert (None, NEW) == (one.get("bc"), two.get("c"))


def test_an_evicted_generation_loses_entries_and_revives_none(
    make: Callable[..., DjangoCacheTokenStorage],
) -> None:
    """When the cache drops the generation, everything is absent, also what was cleared before."""
    storage = make()
    storage.set("cleared", OLD)
    storage.clear()
    storage.set("key", OLD)
    caches["default"].delete(storage._name("generation", ""))
    assert (None, None) == (storage.get("key"), storage.get("cleared"))
    storage.set("key", NEW)
    assert (NEW, None) == (storage.get("key"), storage.get("cleared"))


@pytest.mark.parametrize("content", [b"\xff junk", 17, ["a"], "", "[]"], ids=repr)
def test_what_does_not_decode_is_absent(make: Callable[..., DjangoCacheTokenStorage], content: Any) -> None:
    """A value of any other kind is a miss, and a replace that expects nothing heals it."""
    storage = make()
    storage.set("key", OLD)
    caches["default"].set(storage._entry("key", str(storage._read_generation())), content)
    assert storage.get("key") is None
    assert storage.replace("key", None, NEW)
    assert NEW == storage.get("key")


def test_a_damaged_cache_file_is_absent(use_cache: Any, tmp_path: Path) -> None:
    """What Django itself cannot unpack is a miss that the next set heals, and no error."""
    make = use_cache(f"{CORE}.filebased.FileBasedCache", str(tmp_path / "cache"))
    storage = make()
    storage.set("key", OLD)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:20] + b"junk")
    assert storage.get("key") is None
    storage.set("key", NEW)
    assert NEW == storage.get("key")


def test_a_cache_that_keeps_nothing_says_so(use_cache: Any) -> None:
    """On a DummyCache, and wherever a set is silently lost, the caller hears a StorageError."""
    storage = use_cache(f"{CORE}.dummy.DummyCache")()
    assert storage.get("key") is None
    with pytest.raises(StorageError, match="did not keep"):
        storage.set("key", NEW)
    with storage.lock("key", 0), pytest.raises(StorageLockTimeoutError), storage.lock("key", 0):
        pass


def test_an_expired_token_may_be_gone_before_it_is_read_back(use_cache: Any, tmp_path: Path) -> None:
    """It lives a second, which a busy cache may take; what is to live longer must be there."""
    storage = use_cache("support.slow_cache.SlowCache", str(tmp_path))()
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    storage.set("key", Token("expired", expires_at=long_ago))
    assert storage.get("key") is None
    storage.set("key", NEW)
    assert NEW == storage.get("key")


def test_a_storage_follows_the_settings(use_cache: Any, tmp_path: Path) -> None:
    """Settings overridden in a project's tests hold for a storage that was made before."""
    storage = use_cache(f"{CORE}.locmem.LocMemCache", str(tmp_path / "one"))()
    storage.set("key", OLD)
    use_cache(f"{CORE}.locmem.LocMemCache", str(tmp_path / "two"))
    assert storage.get("key") is None


def test_an_unknown_alias_is_named(make: Callable[..., DjangoCacheTokenStorage]) -> None:
    """A cache that CACHES does not have is a StorageError that says which."""
    storage = make("missing")
    with pytest.raises(StorageError, match="'missing'"):
        storage.get("key")


@pytest.mark.parametrize("lease", [0, -1, float("inf"), True])
def test_a_lease_is_a_positive_number(lease: Any) -> None:
    """A lock that the cache would never free is refused."""
    with pytest.raises(ConfigurationError):
        DjangoCacheTokenStorage(lock_lease=lease)


def test_a_pickle_carries_the_configuration(make: Callable[..., DjangoCacheTokenStorage]) -> None:
    """A pickled storage is one on the same cache, prefix and lease."""
    storage = make("default", "mine", lock_lease=7)
    storage.set("key", OLD)
    copy = pickle.loads(pickle.dumps(storage))
    assert (OLD, repr(storage), 7) == (copy.get("key"), repr(copy), copy._lease)


# Leases, on a cache whose `add` is atomic


@pytest.fixture
def on_redis(use_cache: Any, servers: Callable[[str], Daemon]) -> Callable[..., DjangoCacheTokenStorage]:
    needs.module("redis")
    return use_cache(f"{CORE}.redis.RedisCache", servers("redis").redis_url, KEY_PREFIX="lease")


def test_a_lease_that_ran_out_overwrites_nothing(on_redis: Callable[..., DjangoCacheTokenStorage]) -> None:
    """A slow holder whose lease ran out never overwrites what the next holder put there."""
    slow, quick = on_redis(lock_lease=0.5), on_redis()
    quick.set("key", OLD)
    with slow.lock("key", 1), quick.lock("key", 5):  # granted when the cache has freed the other's, after a second
        assert quick.replace("key", OLD, Token("next"))
        assert not slow.replace("key", OLD, NEW)
    assert Token("next") == quick.get("key")


@pytest.mark.parametrize("backend", ["redis", "memcached"])
def test_a_cache_that_the_application_cleared_loses_no_answer(
    use_cache: Any, servers: Callable[[str], Daemon], backend: str
) -> None:
    """The entry and the lease are gone, and what came meanwhile is stored where nothing is expected any more."""
    needs.module("redis" if backend == "redis" else "pymemcache")
    backends = {
        "redis": ("redis.RedisCache", lambda: servers("redis").redis_url),
        "memcached": ("memcached.PyMemcacheCache", lambda: servers("memcached").address),
    }
    name, location = backends[backend]
    storage = use_cache(f"{CORE}.{name}", location())()
    storage.set("key", OLD)
    with storage.lock("key", 1):
        caches["default"].clear()
        assert not storage.replace("key", OLD, NEW)
        assert storage.get_strict("key") is None
        assert storage.replace("key", None, NEW)
    assert NEW == storage.get("key")


def test_an_application_that_clears_its_cache_costs_no_grant(
    on_redis: Callable[..., DjangoCacheTokenStorage], local_idp: LocalIdP
) -> None:
    """While a refresh token is being spent the entry and the lease vanish: what comes is stored all the same."""
    first = local_idp.issue(kind="refresh").access_token

    def start() -> TokenManager:
        fetcher = RefreshTokenFetcher(
            token_url=local_idp.token_url, client_id="client", client_secret="secret", refresh_token=first
        )
        return TokenManager(fetcher, on_redis())

    with start() as manager, ThreadPoolExecutor() as pool:
        manager.get_token(timeout=10)
        local_idp.latencies["token"] = 0.5
        renewal = pool.submit(manager.force_refresh, 10)
        deadline = time.monotonic() + 10
        while local_idp.count("token") < 2:
            assert time.monotonic() < deadline
        caches["default"].clear()
        renewal.result(10)
        local_idp.latencies.clear()
    with start() as another_process:
        another_process.force_refresh(timeout=10)
        another_process.force_refresh(timeout=10)
    assert 0 == local_idp.reuse_detected


def test_a_lost_lock_is_not_released_for_another(on_redis: Callable[..., DjangoCacheTokenStorage]) -> None:
    """Leaving a block whose lock the cache dropped leaves the next holder's lock alone."""
    storage = on_redis()
    lock = storage.lock("lost", 1)
    lock.__enter__()
    caches["default"].delete(storage._lock_name("lost"))
    with on_redis().lock("lost", 0):
        lock.__exit__(None, None, None)
        with pytest.raises(StorageLockTimeoutError), storage.lock("lost", 0):
            pass


# Servers in trouble


def every_call(storage: DjangoCacheTokenStorage) -> list[Callable[[], object]]:
    return [
        lambda: storage.set("key", NEW),
        lambda: storage.replace("key", None, NEW),
        lambda: storage.clear(),
        lambda: storage.lock("key", 0.2).__enter__(),
        lambda: storage.get("key"),
    ]


@pytest.mark.parametrize("backend", ["redis.RedisCache", "memcached.PyMemcacheCache"])
def test_a_server_that_is_down_is_a_storage_error(use_cache: Any, backend: str) -> None:
    """Every method fails within its time, and a dead memcached is not taken for a held lock."""
    needs.module("redis" if backend.startswith("redis") else "pymemcache")
    port = daemons.free_port()
    location = f"redis://127.0.0.1:{port}" if backend.startswith("redis") else f"127.0.0.1:{port}"
    storage = use_cache(f"{CORE}.{backend}", location)()
    started = time.monotonic()
    for call in every_call(storage) * 2:
        with pytest.raises(StorageError) as caught:
            call()
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
        assert "secret" not in shown(caught.value)
    assert time.monotonic() - started < 5


def test_a_client_that_ignores_failures_still_ends(use_cache: Any) -> None:
    """Where django-redis is told to hide that its server is down, a set and a lock say so all the same."""
    needs.module("django_redis")
    logging.getLogger("django_redis").setLevel(logging.CRITICAL)
    location = f"redis://127.0.0.1:{daemons.free_port()}"
    options = {"IGNORE_EXCEPTIONS": True}
    storage = use_cache("django_redis.cache.RedisCache", location, OPTIONS=options)()
    assert storage.get("key") is None
    with pytest.raises(StorageLockTimeoutError), storage.lock("key", 0.2):
        pass


@pytest.fixture
def doomed(use_cache: Any) -> Iterator[tuple[Daemon, DjangoCacheTokenStorage]]:
    """A memcached that a test may harm, and a storage on it that has an entry."""
    needs.module("pymemcache")
    with daemons.memcached("-m", "8") as daemon:
        storage = use_cache(f"{CORE}.memcached.PyMemcacheCache", daemon.address)()
        storage.set("key", OLD)
        yield daemon, storage
        storage.close()


def test_a_memcached_restarted_empty_is_used_again(doomed: tuple[Daemon, DjangoCacheTokenStorage]) -> None:
    """After a restart the entries are gone and the next ones are kept; nobody waits for the client to forgive."""
    daemon, storage = doomed
    daemon.process.kill()
    daemon.process.wait(10)
    with pytest.raises(StorageError):
        storage.get("key")
    with daemons.memcached(port=daemon.port):
        assert storage.get("key") is None
        storage.set("key", NEW)
        assert NEW == storage.get("key")
        storage.close()


def test_a_token_too_large_for_the_cache_is_a_storage_error(
    doomed: tuple[Daemon, DjangoCacheTokenStorage],
) -> None:
    """A value beyond memcached's limit is dropped by it in silence; the storage is not silent."""
    storage = doomed[1]
    with pytest.raises(StorageError) as caught:
        storage.set("key", Token("secret" * 200_000))
    assert "secret" not in shown(caught.value)


def test_eviction_is_a_miss(doomed: tuple[Daemon, DjangoCacheTokenStorage]) -> None:
    """What memcached throws out for lack of memory is absent, and can be set again."""
    storage = doomed[1]
    text = encode(OLD)  # memory is short among items of about one size; a storage's names have 97 characters
    for start in range(0, 40_000, 5_000):
        caches["default"].set_many({f"{number:097}": text for number in range(start, start + 5_000)})
    assert storage.get("key") is None
    storage.set("key", NEW)
    assert NEW == storage.get("key")


def test_a_child_shares_no_socket_with_its_parent(doomed: tuple[Daemon, DjangoCacheTokenStorage]) -> None:
    """Parent and children that read at once get each their own answers, over memcached's text protocol too."""
    storage = doomed[1]
    for number in range(4):
        storage.set(str(number), Token(f"token-{number}"))

    def reads(number: int) -> bool:
        return all(storage.get(str(number)) == Token(f"token-{number}") for _ in range(100))

    def work(number: int) -> bool:
        reads(number)  # so that this thread has a connection to inherit
        # One thread forks: filelock, where it is imported, refuses a fork while another thread forks.
        return in_child(lambda: reads(number)) if number == 1 else reads(number)

    assert [True] * 4 == in_threads(4, work)
