"""What `import tokenkit` costs."""

import subprocess
import sys

import pytest

EXTRAS = [
    "cryptography",
    "django",
    "filelock",
    "jwt",
    "keyring",
    "opentelemetry",
    "prometheus_client",
    "pytest",
    "redis",
    "tokenkit.testing",
]


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules in a fresh interpreter after `import tokenkit`."""
    script = "import sys, tokenkit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


@pytest.mark.parametrize("extra", EXTRAS)
def test_import_loads_no_extra(loaded: set[str], extra: str) -> None:
    """An optional package is loaded by the module that needs it, not by the import of the root."""
    assert extra not in loaded


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
