"""A listener whose optional package is not installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("module", "package"), [("prometheus", "prometheus_client"), ("opentelemetry",) * 2])
def test_the_error_says_what_to_install(module: str, package: str) -> None:
    """The module cannot be imported, and its ImportError names the extra."""
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"try: import tokenkit.contrib.{module}\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert f"pip install 'requests-tokenkit[{module}]'" in done.stdout
