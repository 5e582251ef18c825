"""What importing tokenkit costs: counted by what is loaded. tests/benchmarks/imports.py measures it."""

import subprocess
import sys
from pathlib import Path

import pytest

import tokenkit.auth

USED = "from tokenkit import BearerAuth, TokenManager\nfrom tokenkit.fetchers.oauth2 import ClientCredentialsFetcher"
OPTIONAL = {
    *("cryptography", "django", "filelock", "jwt", "keyring", "opentelemetry", "prometheus_client", "pytest", "redis"),
    "tokenkit.testing",
}
# What few programs use, or what loads much for little; each is loaded on first use.
RARE = {
    *("ast", "dataclasses", "dis", "inspect"),  # a third of what the common names cost, as long as they were loaded
    *("html", "multiprocessing", "pickle", "subprocess", "tomllib", "uuid"),
    *("tokenkit.cli", "tokenkit.config", "tokenkit.pipeline", "tokenkit.storage"),
    *("tokenkit.auth.session", "tokenkit.fetchers.command", "tokenkit.fetchers.http", "tokenkit.fetchers.local"),
}
READY = f"""{USED}
source = ClientCredentialsFetcher(token_url="https://idp.example.com/", client_id="a", client_secret=lambda: "secret")
auth = BearerAuth(TokenManager(source))
"""
WITHOUT_POSIX = f"""
import pkgutil, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import support.without_posix, tokenkit
for module in pkgutil.walk_packages(tokenkit.__path__, "tokenkit."):
    if module.name != "tokenkit.__main__":
        try:
            __import__(module.name)
        except ImportError as error:
            assert error.name not in support.without_posix.MODULES, module.name
"""
KNOWN_ALREADY = "import requests\n"


def loaded(program: str) -> set[str]:
    """Return the modules in a fresh interpreter after *program*."""
    script = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


def test_the_root_loads_nothing_but_itself() -> None:
    """A program pays for the names that it uses, when it uses them."""
    assert {"tokenkit", "tokenkit._faces"} == {
        name for name in loaded("import tokenkit") if name.startswith("tokenkit")
    }


def test_the_common_names_load_what_they_need() -> None:
    """An auth, a manager and a grant, made for use, load no optional package and nothing that few programs use."""
    assert set() == (loaded(KNOWN_ALREADY + READY) - loaded(KNOWN_ALREADY)) & (OPTIONAL | RARE)


def test_all_names_load_no_optional_package() -> None:
    """An optional package is loaded by the module that needs it, whatever the root is asked for."""
    assert set() == loaded("from tokenkit import *") & OPTIONAL


def test_no_module_needs_what_windows_lacks() -> None:
    """What only POSIX has is done without where it is not there, when any module is imported."""
    assert "tokenkit.cli._files" in loaded(WITHOUT_POSIX)


def test_import_starts_no_thread() -> None:
    """Importing every public name leaves the main thread alone."""
    script = "import threading; from tokenkit import *; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ("1", "") == (done.stdout.strip(), done.stderr)


def test_a_public_module_is_an_attribute_of_the_root() -> None:
    """``import tokenkit`` is enough for ``tokenkit.errors.AuthenticationError``, as with requests."""
    assert "tokenkit.errors" in loaded("import tokenkit\ntokenkit.errors.AuthenticationError")


def test_a_name_that_is_not_there_is_told_as_ever() -> None:
    """A face raises what any module raises."""
    with pytest.raises(AttributeError, match=r"module 'tokenkit.auth' has no attribute 'Nonsense'"):
        _ = tokenkit.auth.Nonsense
