"""Managers from a table, a file or the environment: what is built, what is refused, and what is never said."""

import json
import logging
import pickle
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from support import needs

import tokenkit
from tokenkit import ConfigurationError, RefreshPolicy, TokenManager, from_config, from_env
from tokenkit.config._environment import table_of_environment
from tokenkit.config._parts import Parts, parts_of
from tokenkit.config._schema import Location
from tokenkit.errors import AuthenticationError
from tokenkit.fetchers import (
    BodyTokenFetcher,
    ClientCredentialsFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    HeaderTokenFetcher,
    HttpTokenFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.oauth2 import SignedInFetcher
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

CANARY = "canary-8d1f"
CLIENT = {"token_url": "https://idp.test/token", "client_id": "client", "client_secret": "env:T_SECRET"}


class Variables:
    """Environment variables with the prefix T, set by the rest of their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __setitem__(self, name: str, text: str) -> None:
        self._monkeypatch.setenv(f"T_{name}", text)


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    """Variables for one test."""
    return Variables(monkeypatch)


def built(**table: Any) -> TokenManager:
    return from_config({"orders": table}, "orders")


def parts(**table: Any) -> Parts:
    """Return what a manager is made of."""
    return parts_of(table, Location("orders"))


def refusal(**table: Any) -> str:
    """Return how the table is refused; the canary in its values must not be shown."""
    with pytest.raises(ConfigurationError) as caught:
        built(**table)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in repr(vars(caught.value))
    assert caught.value.__context__ is None
    return str(caught.value)


SOURCES = [
    ({**CLIENT}, ClientCredentialsFetcher),
    ({**CLIENT, "grant": "client_credentials", "scope": ["a", "b"]}, ClientCredentialsFetcher),
    ({**CLIENT, "grant": "password", "username": "alice", "password": "env:P"}, PasswordFetcher),
    ({**CLIENT, "grant": "refresh_token", "refresh_token": "env:R"}, RefreshTokenFetcher),
    ({**CLIENT, "grant": "jwt_bearer", "subject": "s", "key": "file:key.pem"}, JwtBearerFetcher),
    ({**CLIENT, "grant": "token_exchange", "subject_token": "file:token"}, TokenExchangeFetcher),
    ({"source": "environment", "variable": "T_TOKEN"}, EnvTokenFetcher),
    ({"source": "file", "path": "token", "reread": 5}, FileTokenFetcher),
    ({"source": "command", "argv": ["echo", "token"]}, CommandTokenFetcher),
    ({"source": "http", "base_url": "https://idp.test", "endpoint": "t"}, HttpTokenFetcher),
    ({"source": "body", "base_url": "https://idp.test", "endpoint": "t", "token_field": "d.t"}, BodyTokenFetcher),
    ({"source": "header", "base_url": "https://idp.test", "endpoint": "t"}, HeaderTokenFetcher),
]


@pytest.mark.parametrize(("table", "kind"), SOURCES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_table_makes_its_fetcher(table: dict[str, Any], kind: type) -> None:
    """Each grant and source has a fetcher; it bears the table's name."""
    source = built(**table).source
    assert isinstance(source, kind)
    assert "orders" == source.name


def test_keys_are_the_fetchers_arguments() -> None:
    """Numbers of seconds, arrays and tables become what the fetcher takes."""
    extra = {"ttl": 90, "timeout": [1, 2.5], "verify": False, "extra_params": {"a": "b"}, "retries": 0}
    source = built(**CLIENT, **extra).source
    assert isinstance(source, ClientCredentialsFetcher)
    assert (timedelta(seconds=90), (1, 2.5), False) == (source.ttl, source.timeout, source.verify)
    assert ({"a": "b"}, 0) == (source.extra_params, source.retries)


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    """A path stands for what the file holds."""
    path = tmp_path / "tokens.toml"
    path.write_text('[orders]\nsource = "static"\ntoken = "abc"\n[orders.policy]\njitter = 0\n')
    for config in (path, str(path)):
        assert "abc" == from_config(config, "orders").get_token().access_token


def test_policy_and_storage_have_tables_of_their_own(tmp_path: Path) -> None:
    """The manager gets the policy and the storage that the table describes."""
    policy = {"expiry_margin": 3, "max_retries": 5}
    made = parts(**CLIENT, policy=policy, storage={"type": "file", "directory": str(tmp_path)}, background=False)
    assert (RefreshPolicy(expiry_margin=3, max_retries=5), False) == (made.policy, made.background)
    assert isinstance(made.storage, FileTokenStorage)
    assert str(tmp_path) in repr(made.storage)


@pytest.mark.parametrize("kind", ["memory", "file", "redis", "keyring"])
def test_each_storage_is_made_without_touching_it(kind: str) -> None:
    """Building asks no server and makes no file."""
    if kind in ("redis", "keyring"):
        needs.module(kind)
    address = {"url": "redis://127.0.0.1:9/0"} if kind == "redis" else {}
    storage = parts(**CLIENT, storage={"type": kind, **address}).storage
    assert kind in type(storage).__module__


def test_djangos_cache_is_a_storage_too(tmp_path: Path) -> None:
    """The keys are its arguments; Django's settings are not looked at before the first use."""
    needs.module("django")
    keys = {"cache_alias": "tokens", "key_prefix": "p", "lock_lease": 45, "lock_directory": str(tmp_path)}
    storage = parts(**CLIENT, storage={"type": "django", **keys}).storage
    assert "DjangoCacheTokenStorage" == type(storage).__name__
    assert "tokens" in repr(storage)


def test_a_storage_is_encrypted_where_keys_are_given(variables: Variables) -> None:
    """encryption_keys wraps the storage; its references are read at once."""
    needs.module("cryptography")
    variables["KEY"] = "mFlnX1eiPUmKJjSYzFbqXZlLbYnMIuvSHwJcVKDqkEE="
    storage = parts(**CLIENT, storage={"type": "memory", "encryption_keys": ["env:T_KEY"]}).storage
    assert "<EncryptedTokenStorage in <InMemoryTokenStorage of 0>>" == repr(storage)


UNKNOWN = [
    ({**CLIENT, "scop": CANARY}, "'scop' in [orders]", "'scope' in [orders]"),
    ({**CLIENT, "username": CANARY}, "'username' in [orders]", "grant = 'client_credentials'"),
    ({**CLIENT, "policy": {"jiter": 1}}, "'jiter' in [orders.policy]", "'jitter' in [orders.policy]"),
    ({**CLIENT, "storage": {"type": "file", "dir": CANARY}}, "'dir' in [orders.storage]", "'directory'"),
    ({**CLIENT, "depends_on": ["x"]}, "'depends_on' in [orders]", "known are allow_insecure, "),
    ({"source": "file", "pfad": CANARY}, "'pfad' in [orders]", "'path' in [orders]"),
]


@pytest.mark.parametrize(("table", "named", "nearest"), UNKNOWN)
def test_an_unknown_key_is_named_with_the_nearest(table: dict[str, Any], named: str, nearest: str) -> None:
    """The message says which key, in which table, and what may have been meant."""
    said = refusal(**table)
    assert said.startswith(f"{named} is not known for")
    assert nearest in said


WRONG = [
    ({**CLIENT, "timeout": CANARY}, "'timeout' in [orders] must be a number or an array of 2, not a string"),
    ({**CLIENT, "ttl": float("inf")}, "'ttl' in [orders] must be a number of seconds, not one so large"),
    ({**CLIENT, "timeout": [1, CANARY]}, "'timeout' in [orders] must be a number or an array of 2, not an array"),
    ({**CLIENT, "retries": True}, "'retries' in [orders] must be a whole number, not a boolean"),
    ({**CLIENT, "retries": 1.5}, "'retries' in [orders] must be a whole number, not a number"),
    ({**CLIENT, "scope": [1]}, "'scope' in [orders] must be a string or an array of strings, not an array"),
    ({**CLIENT, "storage": "file"}, "'storage' in [orders] must be a table, not a string"),
    ({**CLIENT, "client_secret": 5}, "'client_secret' in [orders] must be a string, not a number"),
    ({**CLIENT, "proxies": {"https": 1}}, "'proxies' in [orders] must be a table of strings, not a table"),
    ({**CLIENT, "grant": 1}, "'grant' in [orders] must be a string, not a number"),
    ({**CLIENT, "policy": {"jitter": "x"}}, "'jitter' in [orders.policy] must be a number, not a string"),
]


@pytest.mark.parametrize(("table", "said"), WRONG)
def test_a_wrong_type_is_named_with_the_right_one(table: dict[str, Any], said: str) -> None:
    """The message says what the key takes and what kind of value stands there."""
    assert said == refusal(**table)


MISSING = [
    ({**CLIENT, "grant": "password", "username": "u"}, "'password' in [orders] is missing"),
    ({"source": "file"}, "'path' in [orders] is missing, which source = 'file' needs"),
    ({"client_id": "c"}, "[orders]: token_url or issuer is missing"),
    ({"token_url": "https://idp.test"}, "[orders]: client_id is missing"),
    ({**CLIENT, "storage": {}}, "'type' in [orders.storage] is missing"),
    ({**CLIENT, "storage": {"type": "redis"}}, "'url' in [orders.storage] is missing"),
    ({**CLIENT, "grant": "passwort"}, "the nearest is 'password'"),
    ({**CLIENT, "grant": "password", "source": "file"}, "exclude each other"),
    ({**CLIENT, "token_url": f"http://idp.test/{CANARY}"}, "[orders]: token_url is http:// to idp.test"),
    ({**CLIENT, "client_secret": "env:"}, "'client_secret' in [orders]: a place is missing after env:"),
    ({**CLIENT, "client_secret": f"keyring:{CANARY}"}, "is written keyring:SERVICE/USER"),
    ({**CLIENT, "policy": {"jitter": 2}}, "[orders.policy]: jitter is a share of the lifetime"),
    ({**CLIENT, "storage": {"type": "redis", "url": "env:T_NO"}}, "[orders.storage]: the environment variable T_NO"),
    ({"source": "static", "token": f"{CANARY}\n"}, "[orders]: "),
]


@pytest.mark.parametrize(("table", "said"), MISSING)
def test_what_is_missing_or_does_not_fit_is_named(table: dict[str, Any], said: str) -> None:
    """A table is checked whole before any network, and the message says where it is wrong."""
    if table.get("storage", {}).get("type") == "redis":
        needs.module("redis")
    if CANARY in str(table.get("client_secret")):
        needs.module("keyring")
    assert said in refusal(**table)


def test_a_table_that_is_not_there_is_named_with_the_nearest() -> None:
    """A slip in the manager's name is told like one in a key."""
    with pytest.raises(ConfigurationError, match=r"there is no table \[ordres\]; the nearest is \[orders\]"):
        from_config({"orders": CLIENT}, "ordres")
    with pytest.raises(ConfigurationError, match=r"\[orders\] must be a table"):
        from_config({"orders": CANARY}, "orders")
    with pytest.raises(ConfigurationError, match="keys stand below a line such as"):
        from_config(CLIENT, "orders")


def test_a_word_that_resembles_nothing_is_told_without_a_guess() -> None:
    """A guess that is far off leads astray."""
    assert "nearest" not in refusal(**CLIENT, listeners=[])


def test_what_is_given_twice_is_told(tmp_path: Path) -> None:
    """The reason that TOML is none, where it shows no content."""
    path = tmp_path / "c.toml"
    path.write_text("[orders]\n[orders]\n")
    with pytest.raises(ConfigurationError, match=r"stands there twice \(at line 2"):
        from_config(path, "orders")


FILES = [
    (b'[orders]\nclient_secret = "' + CANARY.encode() + b"\n", "is not TOML (at line 2, column "),
    (b"[orders]\nclient_secret = \xff" + CANARY.encode(), "is not UTF-8 text"),
    (None, "cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize(("content", "said"), FILES)
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The message says where the file is broken; neither it nor its chain holds what stands there."""
    path = tmp_path / "tokens.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        from_config(path, "orders")
    assert f"{path} {said}" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_rotated_secret_is_seen(variables: Variables) -> None:
    """A reference is read at each fetch, not when the manager is made."""
    with LocalIdP() as idp:
        table = {**CLIENT, "token_url": f"{idp.url}/token", "retries": 0}
        with built(**table, background=False) as manager:
            with pytest.raises(AuthenticationError, match="the environment variable T_SECRET is not set, or empty"):
                manager.get_token()
            assert 0 == idp.count("token")
            variables["SECRET"] = "secret"
            assert manager.force_refresh().access_token


def test_a_secret_in_a_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    """The file of a secret may end with a newline, and may come late."""
    path = tmp_path / "secret"
    with LocalIdP() as idp:
        table = {**CLIENT, "token_url": f"{idp.url}/token", "client_secret": f"file:{path}"}
        with built(**table, background=False) as manager:
            with pytest.raises(AuthenticationError, match=f"the file {path} cannot be read") as caught:
                manager.get_token()
            assert caught.value.transient
            path.write_text("secret\n")
            assert manager.force_refresh().access_token


def test_a_secret_in_the_keyring_is_read() -> None:
    """SERVICE is what stands before the last slash, so that it may be a URL."""
    keyring = needs.module("keyring")

    class Ring(keyring.backend.KeyringBackend):  # type: ignore[name-defined,misc]  # optional
        priority = 0

        def get_password(self, service: str, username: str) -> str | None:
            return {("https://idp.test", "client"): "abc"}.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None: ...

        def delete_password(self, service: str, username: str) -> None: ...

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        given = built(source="static", token="keyring:https://idp.test/client", background=False)
        assert "abc" == given.get_token().access_token
        lost = built(source="static", token="keyring:svc/nobody", background=False)
        with pytest.raises(AuthenticationError, match="the keyring has no such entry: svc/nobody"):
            lost.get_token()
    finally:
        keyring.set_keyring(before)


def test_a_literal_may_look_like_a_reference() -> None:
    """'literal:' before a value takes its meaning away; most words before a colon have none."""
    for written, meant in (("literal:env:x", "env:x"), ("literal:${X}", "${X}"), ("hunter:x", "hunter:x")):
        source = built(source="static", token=written).source
        assert meant == source.fetch().access_token


def test_a_scope_is_never_a_reference() -> None:
    """'file:read' is a scope, as many are."""
    source = built(**CLIENT, scope="file:read env:write").source
    assert isinstance(source, ClientCredentialsFetcher)
    assert "file:read env:write" == source.scope


def test_values_of_a_table_may_be_references(variables: Variables) -> None:
    """Form data of an endpoint that is not OAuth 2.0 names its secrets too."""
    variables["SECRET"] = "secret"
    form = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "env:T_SECRET"}
    with LocalIdP() as idp:
        manager = built(source="body", base_url=idp.url, endpoint="token", request_data=form)
        with pickle.loads(pickle.dumps(manager)) as copy:
            assert copy.get_token().access_token


def test_a_manager_with_references_pickles_without_the_secret(variables: Variables) -> None:
    """A pickle holds the names of the places; with a literal secret there is none."""
    variables["SECRET"] = CANARY
    manager = built(**CLIENT, storage={"type": "memory"})
    assert CANARY.encode() not in pickle.dumps(manager)
    with pytest.raises(TypeError, match="client_secret"):
        pickle.dumps(built(**{**CLIENT, "client_secret": CANARY}))


def test_a_reference_and_its_literal_share_a_stored_token(variables: Variables) -> None:
    """What tells tenants apart is what stands in the place, not the place."""
    asked = {**CLIENT, "grant": "password", "password": "env:T_P"}
    keys = []
    for name in ("alice", "bob"):
        variables["USER"] = name
        by_reference = built(**asked, username="env:T_USER").source.cache_key
        assert built(**asked, username=name).source.cache_key == by_reference
        keys.append(by_reference)
    assert keys[0] != keys[1]


def test_an_unreadable_reference_shares_nothing() -> None:
    """Two tables whose user is not known are not taken for one."""
    asked = {**CLIENT, "grant": "password", "password": "env:T_P", "username": "env:T_NOBODY"}
    assert built(**asked).source.cache_key != built(**asked).source.cache_key


@pytest.mark.parametrize("source", ["http", "body", "header"])
def test_two_endpoints_of_one_name_share_no_token(source: str) -> None:
    """Programs that all call their table 'orders' may use one storage."""
    address = {"source": source, "endpoint": "token"}
    keys = {built(**address, base_url=f"https://{host}.test").source.cache_key for host in ("a", "b")}
    assert 2 == len(keys)
    assert 2 == len({built(source="static", token=token).source.cache_key for token in ("a", "b")})


@pytest.mark.parametrize(
    ("source", "key", "values"),
    [
        ("http", "cert", ["a.pem", "b.pem"]),
        ("body", "token_field", ["access_token", "id_token"]),
        ("header", "token_header", ["X-A", "X-B"]),
    ],
)
def test_two_tokens_of_one_endpoint_are_told_apart(source: str, key: str, values: list[str]) -> None:
    """By the certificate that is shown, and by the place in the answer."""
    table = {"source": source, "endpoint": "token", "base_url": "https://idp.test"}
    assert 2 == len({built(**table, **{key: value}).source.cache_key for value in values})


def test_the_environment_makes_a_manager(variables: Variables, tmp_path: Path) -> None:
    """Keys in capitals after the prefix; tables within the table after another underscore."""
    variables["GRANT"] = "password"
    variables["TOKEN_URL"] = "https://idp.test/token"
    variables["CLIENT_ID"] = "123"
    variables["CLIENT_SECRET"] = CANARY
    variables["USERNAME"] = "alice"
    variables["PASSWORD_FILE"] = str(tmp_path / "password")
    variables["VERIFY"] = "False"
    variables["TIMEOUT"] = "[1, 2]"
    variables["EXTRA_PARAMS"] = '{"tenant": "a"}'
    variables["RESOURCE"] = '["https://a.test", "https://b.test"]'
    variables["SCOPE"] = ""
    variables["STORAGE"] = "file"
    variables["STORAGE_DIRECTORY"] = str(tmp_path)
    variables["POLICY_JITTER"] = "0.05"
    made = parts_of(*table_of_environment("T"))
    source = made.source
    assert isinstance(source, PasswordFetcher)
    assert ("t", "123", None, False, (1, 2)) == (
        source.name,
        source.client_id,
        source.scope,
        source.verify,
        source.timeout,
    )
    assert ({"tenant": "a"}, ["https://a.test", "https://b.test"]) == (source.extra_params, source.resource)
    assert ("env:T_CLIENT_SECRET", f"file:{tmp_path}/password") == (str(source.client_secret), str(source.password))
    assert isinstance(made.storage, FileTokenStorage)
    assert 0.05 == made.policy.jitter
    assert CANARY.encode() not in pickle.dumps(from_env("T"))


@pytest.mark.parametrize(("text", "meant"), [("yes", True), ("1", True), ("OFF", False), ("no", False)])
def test_a_variable_may_say_yes_and_no(variables: Variables, text: str, meant: bool) -> None:
    """As people write switches in the environment."""
    variables["SOURCE"], variables["TOKEN"], variables["BACKGROUND"] = "static", "abc", text
    assert meant is parts_of(*table_of_environment("T")).background


def test_a_variable_may_refer_to_where_its_secret_is(variables: Variables, tmp_path: Path) -> None:
    """Then the variable itself is no secret."""
    (tmp_path / "token").write_text("abc")
    variables["SOURCE"], variables["TOKEN"] = "static", f"file:{tmp_path}/token"
    with from_env("T") as manager:
        assert "abc" == manager.get_token().access_token


def test_a_storage_whose_extra_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "tokenkit.storage.redis", None)
    monkeypatch.delitem(vars(tokenkit.storage), "RedisTokenStorage", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'requests-tokenkit\[redis\]'"):
        built(**CLIENT, storage={"type": "redis", "url": "redis://127.0.0.1:1"})


def test_a_manager_from_the_environment_gets_tokens(variables: Variables) -> None:
    """Without a grant it is client credentials; a last underscore of the prefix means nothing."""
    with LocalIdP() as idp:
        variables["TOKEN_URL"] = f"{idp.url}/token"
        variables["CLIENT_ID"] = "client"
        variables["CLIENT_SECRET"] = "secret"
        with from_env("T_") as manager, from_env("T") as other:
            assert manager.get_token().access_token != other.get_token().access_token


VARIABLES = [
    (
        {"CLENT_ID": CANARY},
        "T_CLENT_ID is not known for grant = 'client_credentials'; the nearest known is T_CLIENT_ID",
    ),
    ({"POLICY_JITER": "1"}, "T_POLICY_JITER is not known for the policy; the nearest known is T_POLICY_JITTER"),
    ({"STORAGE": "file", "STORAGE_DIR": "x"}, "the nearest known is T_STORAGE_DIRECTORY"),
    ({"STORAGE": "fil"}, "T_STORAGE_TYPE must be one of"),
    ({"STORAGE_DIRECTORY": "x"}, "T_STORAGE_TYPE is missing"),
    ({"TTL": CANARY}, "T_TTL must be a number of seconds, not a string"),
    ({"CLIENT_SECRET": CANARY, "CLIENT_SECRET_FILE": "x"}, "T_CLIENT_SECRET and T_CLIENT_SECRET_FILE exclude each"),
    ({"SOURCE": "command"}, "T_ARGV is missing, which source = 'command' needs"),
    ({"TOKEN_URL": "https://idp.test"}, "T_*: client_id is missing"),
    ({"SOURCE": "stored", "KEY": "theirs"}, "T_STORAGE is missing, which source = 'stored' needs"),
    ({}, "no environment variable begins with T_"),
]


@pytest.mark.parametrize(("given", "said"), VARIABLES)
def test_a_wrong_variable_is_named(variables: Variables, given: dict[str, str], said: str) -> None:
    """Messages name variables as the environment does, and none of their values."""
    for name, text in given.items():
        variables[name] = text
    with pytest.raises(ConfigurationError) as caught:
        from_env("T")
    assert said in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_no_log_record_shows_a_secret(variables: Variables, caplog: pytest.LogCaptureFixture) -> None:
    """Neither building nor fetching logs a literal or a referenced secret."""
    caplog.set_level(logging.DEBUG)
    variables["SECRET"] = CANARY
    with LocalIdP() as idp:
        tables = {"token_url": f"{idp.url}/token", "retries": 0, "background": False}
        for secret in (CANARY, "env:T_SECRET"):
            with built(**{**CLIENT, **tables, "client_secret": secret}) as manager:
                with pytest.raises(AuthenticationError) as caught:
                    manager.get_token()
                assert CANARY not in "".join(traceback.format_exception(caught.value))
                assert CANARY not in repr(manager) + repr(manager.source)
    assert CANARY not in caplog.text


def test_config_must_be_a_mapping_or_a_path() -> None:
    """Anything else is a configuration error, too."""
    with pytest.raises(ConfigurationError, match="config must be a mapping or the path of a TOML file, not int"):
        from_config(5, "orders")  # type: ignore[arg-type]  # the point


def test_memory_is_a_storage_like_the_others() -> None:
    """A table can ask for it by name."""
    assert isinstance(parts(**CLIENT, storage={"type": "memory"}).storage, InMemoryTokenStorage)
    assert tokenkit.from_config is from_config


@pytest.mark.parametrize("written", ["${SECRET}", "$SECRET", "$(pass x)", "{{ x }}", "ENV:X", "vault:x", "op://a/b"])
def test_what_other_programs_write_for_a_secret_is_told(written: str) -> None:
    """It would be sent as the secret itself."""
    with pytest.raises(ConfigurationError, match="looks like a reference of another kind") as caught:
        built(**{**CLIENT, "client_secret": written})
    assert written not in str(caught.value)


def deep(levels: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for _ in range(levels):
        table = {"a": table}
    return table


@pytest.mark.parametrize("key", ["timeout", "ttl", "policy.jitter", "policy.min_renewal_interval"])
def test_a_hostile_number_is_told(key: str) -> None:
    """One of 400 digits is no number of seconds."""
    section, dot, name = key.rpartition(".")
    value = {name: 10**400} if dot else 10**400
    with pytest.raises(ConfigurationError, match=r"not one so large|must be"):
        built(**{**CLIENT, section or key: value})


def test_what_is_nested_too_deep_is_told() -> None:
    """A table of thousands of levels ends no program."""
    with pytest.raises(ConfigurationError, match="nested more than 50 deep"):
        built(**{**CLIENT, "extra_params": deep(5000)})


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000 + "]" * 20_000, "[x]\nttl = " + "9" * 5000])
def test_toml_that_no_parser_reads_is_told(tmp_path: Path, text: str) -> None:
    """Deep nesting and numbers without end are no crash."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        from_config(path, "x")


def test_a_path_may_be_none() -> None:
    """A NUL is in no path."""
    with pytest.raises(ConfigurationError, match="is no path"):
        from_config("a\0b", "x")


def test_a_name_with_a_line_break_stays_on_its_line() -> None:
    """It could pass for a message of its own."""
    with pytest.raises(ConfigurationError) as caught:
        from_config({"x]\n[y": {**CLIENT, "zz": 1}}, "x]\n[y")
    assert "\n" not in str(caught.value)


def test_a_proxy_may_be_a_reference(variables: Variables) -> None:
    """Its password stands elsewhere."""
    variables["PROXY"] = "http://user:pw@proxy:1"
    source = built(**{**CLIENT, "proxies": {"https": "env:T_PROXY"}}).source
    assert isinstance(source, ClientCredentialsFetcher)
    assert callable(source.proxies)
    assert {"https": "http://user:pw@proxy:1"} == source.proxies()


def test_a_stored_token_is_read_from_its_storage(tmp_path: Path) -> None:
    """The manager itself writes nothing there."""
    FileTokenStorage(tmp_path / "s").set("theirs", Token("t"))
    settings = {"source": "stored", "key": "theirs", "storage": {"type": "file", "directory": str(tmp_path / "s")}}
    with from_config({"api": settings}, "api") as manager:
        assert "t" == manager.get_token(timeout=5).access_token


def test_a_chain_is_described_by_its_sources(variables: Variables) -> None:
    """The first that is there gives the token."""
    variables["HERE"] = "t"
    sources = [{"source": "environment", "variable": "T_NOWHERE"}, {"source": "environment", "variable": "T_HERE"}]
    with from_config({"api": {"source": "chained", "sources": sources}}, "api") as manager:
        assert "t" == manager.get_token(timeout=5).access_token


def test_a_signed_token_is_described_by_its_claims() -> None:
    """Its key is a reference, as any secret may be."""
    needs.module("jwt")
    settings = {"source": "signed_jwt", "key": "s" * 32, "algorithm": "HS256", "claims": {"iss": "app"}}
    with from_config({"app": settings}, "app") as manager:
        assert 3 == len(manager.get_token(timeout=5).access_token.split("."))


@pytest.mark.parametrize("grant", ["device_code", "authorization_code"])
def test_a_sign_in_is_described_by_its_grant(grant: str) -> None:
    """The source spends what a person gave, and asks nobody."""
    settings = {"grant": grant, "issuer": "https://idp.example.com", "client_id": "c", "client_auth": "none"}
    assert isinstance(from_config({"me": settings}, "me").source, SignedInFetcher)


STEPS = [
    {"name": "user", "source": "static", "token": "user-token"},
    {
        "name": "app",
        "source": "body",
        "base_url": "https://api.example.com",
        "endpoint": "/t",
        "request_headers": {"X-User": "step:user"},
        "request_data": {"token": "step:user"},
        "depends_on": ["user"],
    },
]


@responses.activate
def test_a_pipeline_is_described_by_its_steps() -> None:
    """A step reads the token of an earlier one by its name."""
    responses.post("https://api.example.com/t", json={"access_token": "app-token"})
    with from_config({"api": {"steps": STEPS, "storage": {"type": "memory"}}}, "api") as manager:
        assert "app-token" == manager.get_token(timeout=5).access_token
    request = responses.calls[0].request
    assert ("user-token", "token=user-token") == (request.headers["X-User"], request.body)


@responses.activate
def test_a_pipeline_may_stand_in_the_environment(variables: Variables) -> None:
    """Its steps are JSON, as tables are there."""
    responses.post("https://api.example.com/t", json={"access_token": "app-token"})
    variables["STEPS"] = json.dumps(STEPS)
    with from_env("T") as manager:
        assert "app-token" == manager.get_token(timeout=5).access_token


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"source": "static", "token": "t"}], "'name' in [api.steps.0] is missing"),
        ([{**STEPS[0], "sorce": "x"}], "'sorce' in [api.steps.0] is not known"),
        ([{**STEPS[1], "depends_on": ["nobody"]}], "[api]: "),
        ("user", "must be an array of tables"),
    ],
)
def test_a_wrong_step_is_named(steps: Any, said: str) -> None:
    """By its number, from 0."""
    with pytest.raises(ConfigurationError) as caught:
        from_config({"api": {"steps": steps}}, "api")
    assert said in str(caught.value)
