"""Tokens in Redis: a real server, healthy and otherwise."""

import copy
import importlib
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import daemons, needs
from support.daemons import Daemon
from support.secrets_shown import shown

from tokenkit.errors import ConfigurationError, StorageError, StorageLockTimeoutError
from tokenkit.testing._contract.concurrency import in_child, in_threads
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token

redis = needs.module("redis")
time_machine = needs.module("time_machine")
from tokenkit.storage import RedisTokenStorage  # noqa: E402 - needs redis

pytestmark = pytest.mark.server

OLD, NEW = Token("old-secret", refresh_token="r"), Token("new-secret", refresh_token="r")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemons.redis_server(tmp_path_factory.mktemp("redis")) as daemon:
        yield daemon


@pytest.fixture
def client(server: Daemon) -> Iterator[Any]:
    """A client of an emptied server."""
    with redis.Redis.from_url(server.redis_url, socket_timeout=5) as client:
        client.flushall()
        yield client


@pytest.fixture
def storage(server: Daemon, client: Any) -> Iterator[RedisTokenStorage]:
    storage = RedisTokenStorage(server.redis_url)
    yield storage
    storage.close()


class TestByUrl(StorageContract):
    @pytest.fixture
    def storage(self, storage: RedisTokenStorage) -> RedisTokenStorage:
        return storage

    @pytest.fixture
    def twin(self, server: Daemon) -> Iterator[RedisTokenStorage]:
        twin = RedisTokenStorage(server.redis_url)
        yield twin
        twin.close()

    @pytest.fixture
    def mortal(self, server: Daemon) -> Iterator[RedisTokenStorage]:
        mortal = RedisTokenStorage(server.redis_url, lock_lease=0.5)
        yield mortal
        mortal.close()


class TestByClient(StorageContract):
    """With a client of the user's, which decodes answers and is shared by two storages."""

    @pytest.fixture
    def mine(self, server: Daemon, client: Any) -> Iterator[Any]:
        with redis.Redis.from_url(server.redis_url, decode_responses=True) as mine:
            yield mine

    @pytest.fixture
    def storage(self, mine: Any) -> RedisTokenStorage:
        return RedisTokenStorage(mine, "with {odd} [prefix]*")

    @pytest.fixture
    def twin(self, mine: Any) -> RedisTokenStorage:
        return RedisTokenStorage(mine, "with {odd} [prefix]*")

    @pytest.fixture
    def mortal(self, mine: Any) -> RedisTokenStorage:
        return RedisTokenStorage(mine, lock_lease=0.5)


class TestInCluster(StorageContract):
    """With a RedisCluster; one node that has all slots is enough to be refused keys of two slots."""

    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        options = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
        port = next(port for port in iter(daemons.free_port, None) if port < 55_000)  # the bus is 10 000 above
        with daemons.redis_server(tmp_path_factory.mktemp("cluster"), *options, port=port) as daemon:
            with redis.Redis(port=daemon.port) as node:
                node.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
                while node.cluster("info")["cluster_state"] != "ok":
                    time.sleep(0.05)  # the server tells nobody when it is ready
            with redis.RedisCluster("127.0.0.1", daemon.port) as cluster:
                yield cluster

    @pytest.fixture
    def storage(self, cluster: Any) -> RedisTokenStorage:
        cluster.flushall()
        return RedisTokenStorage(cluster)

    @pytest.fixture
    def mortal(self, storage: RedisTokenStorage, cluster: Any) -> RedisTokenStorage:
        return RedisTokenStorage(cluster, lock_lease=0.5)


# What the server holds


def test_entries_expire_on_the_server(storage: RedisTokenStorage, client: Any) -> None:
    """An entry lives as long as its token, or as its refresh token; one without an end stays."""
    soon = Token.from_response({"access_token": "a", "expires_in": 50})
    refreshable = Token.from_response({"access_token": "b", "expires_in": 50, "refresh_token": "r"})
    limited = Token.from_response(
        {"access_token": "c", "expires_in": 50, "refresh_token": "r", "refresh_expires_in": 500}
    )
    lives = []
    for token in (soon, refreshable, limited, Token("d")):
        storage.set("key", token)
        lives.append(client.ttl(client.keys()[0]))
    assert [51, 400 * 24 * 3600, 501, -1] == pytest.approx(lives, abs=2)
    assert storage.replace("key", Token("d"), soon)
    assert 51 == pytest.approx(client.ttl(client.keys()[0]), abs=2)


def test_prefixes_are_apart(storage: RedisTokenStorage, server: Daemon, client: Any) -> None:
    """Another prefix, even one that continues this one, has other entries; so has everything else in the server."""
    other = RedisTokenStorage(server.redis_url, "tokenkit:")
    other.set("key", OLD)
    client.set("tokenkit:{mine}", "kept")
    storage.set("key", NEW)
    storage.clear()
    assert (None, OLD, b"kept") == (storage.get("key"), other.get("key"), client.get("tokenkit:{mine}"))
    other.close()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe junk", b"[]", b'{"version": 9}'])
def test_what_does_not_decode_is_absent(storage: RedisTokenStorage, client: Any, content: bytes) -> None:
    """Foreign content is a miss, and a replace that expects nothing heals it."""
    storage.set("key", OLD)
    client.set(client.keys()[0], content)
    assert storage.get("key") is None
    assert storage.replace("key", None, NEW)
    assert NEW == storage.get("key")


# Leases


def test_a_lease_that_ran_out_overwrites_nothing(server: Daemon, storage: RedisTokenStorage) -> None:
    """A slow holder whose lease ran out never overwrites what the next holder put there."""
    slow = RedisTokenStorage(server.redis_url, lock_lease=0.1)
    storage.set("key", OLD)
    with slow.lock("key", 1), storage.lock("key", 5):  # granted when the server has freed the other's
        in_threads(1, lambda _: storage.replace("key", OLD, Token("next")))
        assert not slow.replace("key", OLD, NEW)
    assert Token("next") == storage.get("key")
    slow.close()


def test_a_lease_that_ran_out_loses_no_answer(server: Daemon, storage: RedisTokenStorage) -> None:
    """Where nobody wrote meanwhile, what a slow holder got is stored: it may be a refresh token, spent for good."""
    slow = RedisTokenStorage(server.redis_url, lock_lease=0.1)
    storage.set("key", OLD)
    with slow.lock("key", 1):
        with storage.lock("key", 5):  # granted when the server has freed the other's
            pass
        assert slow.replace("key", OLD, NEW)
    assert NEW == storage.get("key")
    slow.close()


def test_a_lease_that_ran_out_frees_no_other(server: Daemon, storage: RedisTokenStorage) -> None:
    """Leaving a block whose lease ran out does not release the lock of the next holder."""
    slow = RedisTokenStorage(server.redis_url, lock_lease=0.1)
    lock = slow.lock("key", 1)
    lock.__enter__()
    with storage.lock("key", 5):
        lock.__exit__(None, None, None)
        with pytest.raises(StorageLockTimeoutError), slow.lock("key", 0):
            pass
    slow.close()


@pytest.mark.parametrize("lease", [0, -1, float("inf"), float("nan"), True, "60"])
def test_a_lease_is_a_positive_number(lease: Any) -> None:
    """A lock that the server would never free is refused."""
    with pytest.raises(ConfigurationError):
        RedisTokenStorage("redis://localhost", lock_lease=lease)


# Configuration


def test_a_bad_url_is_refused_without_its_password() -> None:
    """What redis-py cannot read is a ConfigurationError that quotes nothing."""
    with pytest.raises(ConfigurationError) as caught:
        RedisTokenStorage("http://user:secret@host")
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("prefix", [None, b"tokenkit", 5, ""])
def test_a_prefix_is_text(prefix: Any) -> None:
    """What would become 'None:...' in the server is refused."""
    with pytest.raises(ConfigurationError, match="key_prefix"):
        RedisTokenStorage("redis://localhost", prefix)


def test_a_client_of_asyncio_is_refused() -> None:
    """Its answers would never be awaited."""
    with pytest.raises(ConfigurationError, match="asyncio"):
        RedisTokenStorage(importlib.import_module("redis.asyncio").Redis())


@pytest.mark.parametrize("client", [None, 6379, ["redis://localhost"]])
def test_what_is_no_client_is_refused(client: Any) -> None:
    """Before the first use of it."""
    with pytest.raises(ConfigurationError, match="client_or_url"):
        RedisTokenStorage(client)


def test_a_password_is_not_in_the_repr() -> None:
    """The URL is not shown, since it may hold a password."""
    assert "secret" not in repr(RedisTokenStorage("redis://:secret@localhost"))


def test_a_pickle_carries_the_configuration(server: Daemon, storage: RedisTokenStorage) -> None:
    """A storage made from a URL pickles to one of the same server, prefix and lease."""
    mine = RedisTokenStorage(server.redis_url, "mine", lock_lease=7)
    mine.set("key", OLD)
    copy = pickle.loads(pickle.dumps(mine))
    assert (OLD, "<RedisTokenStorage 'mine'>", 7) == (copy.get("key"), repr(copy), copy._lease)
    mine.close()
    copy.close()


@pytest.mark.parametrize("url", ["redis://:secret@localhost", "redis://localhost?password=secret"])
def test_a_pickle_would_carry_the_password(url: str) -> None:
    """So a storage whose URL has one refuses to be pickled, while copies keep it."""
    storage = RedisTokenStorage(url)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(storage)
    assert "secret" not in str(caught.value)
    assert url == copy.copy(storage)._origin == copy.deepcopy(storage)._origin


def test_a_host_an_hour_off_keeps_entries_as_long(storage: RedisTokenStorage, client: Any) -> None:
    """The server counts from the write, so the clock of the writing host does not matter."""
    for hours in (-1, 1):
        with time_machine.travel(time.time() + hours * 3600, tick=True):
            storage.set("key", Token.from_response({"access_token": "a", "expires_in": 50}))
        assert 51 == pytest.approx(client.ttl(client.keys()[0]), abs=2)


# Users that may not do everything


@pytest.fixture
def as_user(server: Daemon, client: Any) -> Iterator[Callable[..., RedisTokenStorage]]:
    """Make a storage as a user of the server who may do what *rules* say."""
    made: list[RedisTokenStorage] = []

    def make(*rules: str) -> RedisTokenStorage:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "~tokenkit:*", *rules)
        made.append(RedisTokenStorage(f"redis://limited:pw@{server.address}"))
        return made[-1]

    yield make
    for storage in made:
        storage.close()
    client.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.parametrize("timeout", [0.05, 0.12])
def test_a_lock_that_another_holds_is_waited_for_to_the_end(storage: RedisTokenStorage, timeout: float) -> None:
    """Also where the next try would come after it: who asks in short parts does not ask without a pause."""
    with storage.lock("key", 1):
        began = time.monotonic()
        with pytest.raises(StorageLockTimeoutError), storage.lock("key", timeout):
            pass
        assert timeout <= time.monotonic() - began


@pytest.mark.parametrize("rules", [("+@all", "-@scripting"), ("+@all", "-eval", "-evalsha", "-script|load")])
def test_a_user_without_scripts_is_told_before_it_has_a_lock(
    as_user: Callable[..., RedisTokenStorage], client: Any, rules: tuple[str, ...]
) -> None:
    """A lock that its holder may not give back is never taken; the error names the commands that are needed."""
    storage = as_user(*rules)
    for _ in range(2):
        with pytest.raises(StorageError, match="needs the commands GET, SET, DEL, EVAL"), storage.lock("key", 0):
            pass
    assert [] == client.keys("*:lock")
    with pytest.raises(StorageError, match="needs the commands"):
        storage.replace("key", None, NEW)


def test_a_user_with_the_commands_of_the_manual_is_enough(as_user: Callable[..., RedisTokenStorage]) -> None:
    """No others than those that the class names."""
    storage = as_user("+get", "+set", "+del", "+eval", "+evalsha", "+script|load", "+scan", "+unlink")
    with storage.lock("key", 0):
        assert storage.replace("key", None, NEW)
        assert NEW == storage.get_strict("key")
    storage.set("key", OLD)
    assert storage.delete_if_equal("key", OLD)
    storage.delete("key")
    storage.clear()


def test_a_given_client_is_not_closed(client: Any) -> None:
    """Closing the storage leaves the user's client as it is."""
    RedisTokenStorage(client).close()
    assert client.ping()


def test_threads_and_children_have_connections_of_their_own(server: Daemon, storage: RedisTokenStorage) -> None:
    """A parent and its children use the storage at once and never read each other's answers."""
    for number in range(4):
        storage.set(str(number), Token(f"token-{number}"))

    def reads(number: int) -> bool:
        return all(storage.get(str(number)) == Token(f"token-{number}") for _ in range(100))

    def work(number: int) -> bool:
        # One thread forks: filelock, where it is imported, refuses a fork while another thread forks.
        return in_child(lambda: reads(number)) if number == 1 else reads(number)

    assert [True] * 4 == in_threads(4, work)


# A server in trouble


def every_call(storage: RedisTokenStorage) -> list[Callable[[], object]]:
    return [
        lambda: storage.get("key"),
        lambda: storage.set("key", NEW),
        lambda: storage.delete("key"),
        lambda: storage.clear(),
        lambda: storage.replace("key", None, NEW),
        lambda: storage.delete_if_equal("key", NEW),
        lambda: storage.lock("key", 0).__enter__(),
    ]


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Daemon]:
    """A server that a test may harm."""
    with daemons.redis_server(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def on_doomed(doomed: Daemon) -> Iterator[RedisTokenStorage]:
    storage = RedisTokenStorage(doomed.redis_url)
    storage.set("key", OLD)
    yield storage
    storage.close()


def test_a_stopped_server_is_a_storage_error(doomed: Daemon, on_doomed: RedisTokenStorage) -> None:
    """Every method fails at once, with nothing but a StorageError in the chain."""
    doomed.process.kill()
    doomed.process.wait(10)
    for call in every_call(on_doomed):
        with pytest.raises(StorageError) as caught:
            call()
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
        assert "secret" not in shown(caught.value)


def test_a_server_restarted_empty_is_used_again(doomed: Daemon, on_doomed: RedisTokenStorage, tmp_path: Path) -> None:
    """After a restart its entries are gone, locks included, and the next ones are kept; the client reconnects."""
    with on_doomed.lock("key", 1):
        doomed.process.kill()
        doomed.process.wait(10)
        with daemons.redis_server(tmp_path, port=doomed.port):
            assert on_doomed.get("key") is None
            assert not on_doomed.replace("key", OLD, NEW)
            assert on_doomed.replace("key", None, NEW)
            assert NEW == on_doomed.get("key")


@pytest.mark.slow
def test_a_hanging_server_is_given_up(doomed: Daemon, on_doomed: RedisTokenStorage) -> None:
    """A server that accepts and does not answer costs two seconds a call, and works again when it goes on."""
    doomed.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StorageError):
        on_doomed.get("key")
    with pytest.raises(StorageError), on_doomed.lock("key", 0.1):
        pass
    assert time.monotonic() - started < 6
    doomed.process.send_signal(signal.SIGCONT)
    assert OLD == on_doomed.get("key")


def test_the_server_may_die_under_a_lock(doomed: Daemon, on_doomed: RedisTokenStorage) -> None:
    """What the block did is done: its end does not fail because the lock cannot be given back."""
    with on_doomed.lock("key", 1):
        doomed.process.kill()
        doomed.process.wait(10)


def test_a_read_only_replica_is_read(doomed: Daemon, on_doomed: RedisTokenStorage) -> None:
    """A replica that takes no writes answers reads; writes and locks are a StorageError."""
    with redis.Redis.from_url(doomed.redis_url) as admin:
        admin.replicaof("127.0.0.1", daemons.free_port())
    assert OLD == on_doomed.get("key")
    writes: list[Callable[[], object]] = [
        lambda: on_doomed.set("key", NEW),
        lambda: on_doomed.delete("key"),
        lambda: on_doomed.clear(),
        lambda: on_doomed.replace("key", OLD, NEW),
        lambda: on_doomed.lock("key", 1).__enter__(),
    ]
    for write in writes:
        with pytest.raises(StorageError, match="ReadOnly"):
            write()


def test_a_sentinels_master_is_a_client(doomed: Daemon, tmp_path: Path) -> None:
    """A client that a Sentinel gives is used like any other."""
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"sentinel monitor main 127.0.0.1 {doomed.port} 1\n")
    port = daemons.free_port()
    command = [needs.program("redis-server"), str(configuration), "--sentinel", "--port", str(port)]
    with daemons._running([*command, "--bind", "127.0.0.1", "--dir", str(tmp_path)], port):
        sentinel = redis.Sentinel([("127.0.0.1", port)], socket_timeout=5)
        with sentinel.master_for("main", socket_timeout=5) as master:
            storage = RedisTokenStorage(master)
            with storage.lock("key", 1):
                assert storage.replace("key", None, NEW)
            assert NEW == storage.get("key")
        sentinel.sentinels[0].close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*read_from_replicas:DeprecationWarning")
def test_a_cluster_reads_from_the_primary(tmp_path: Path) -> None:
    """Also where its client reads from replicas: one that lags would show a refresh token that was spent."""
    options = ["--cluster-enabled", "yes", "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
    options += ["--repl-ping-replica-period", "1"]  # of a replica that has received nothing yet nobody is told
    ports = [port for port in (daemons.free_port() for _ in range(50)) if port < 55_000]  # the bus is 10 000 above
    with ExitStack() as stack:
        for name, port in zip(("primary", "replica"), ports, strict=False):
            (tmp_path / name).mkdir()
            stack.enter_context(daemons.redis_server(tmp_path / name, *options, port=port))
        primary, replica = (stack.enter_context(redis.Redis(port=port, decode_responses=True)) for port in ports[:2])
        primary.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
        own = primary.execute_command("CLUSTER", "MYID")
        _eventually(lambda: own in str(replica.execute_command("CLUSTER", "NODES")))
        _eventually(lambda: replica.execute_command("CLUSTER", "REPLICATE", own))
        _eventually(lambda: replica.info("replication").get("master_link_status") == "up")
        _eventually(lambda: str(ports[1]) in str(primary.execute_command("CLUSTER", "SLOTS")))
        client = stack.enter_context(redis.RedisCluster("127.0.0.1", ports[0], read_from_replicas=True))
        for _ in range(6):
            client.get("other")
        assert _reads(replica) > 0, "the client does not read from replicas at all"
        before = _reads(replica)
        storage = RedisTokenStorage(client)
        storage.set("key", OLD)
        for _ in range(6):
            assert OLD == storage.get("key") == storage.get_strict("key")
        assert storage.replace("key", OLD, NEW)
        assert before == _reads(replica)


def _reads(server: Any) -> int:
    return int(server.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"])


def _eventually(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if done():
                return
        except redis.ResponseError:  # it does not know the other node yet
            pass
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)  # a server tells nobody
