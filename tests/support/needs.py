"""What a test needs beyond the package: optional packages and programs.

Where it is missing the test skips; with ``TOKENKIT_REQUIRE_ALL=1``, as in CI, it fails. Each function
works in a test, in a fixture, and at the top of a test module, where it speaks for the whole module.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the running test, or fail it where nothing may be missing."""
    if os.environ.get("TOKENKIT_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing, and TOKENKIT_REQUIRE_ALL=1 is set", pytrace=False)
    pytest.skip(f"{what} is missing", allow_module_level=True)


def module(name: str) -> ModuleType:
    """Return the optional module *name*."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"the Python package {name}")


def program(name: str) -> str:
    """Return the path of the program *name*, looked for beside the interpreter first."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    return found or missing(f"the program {name}")


def directory(path: Path, hint: str) -> Path:
    """Return *path* if it is a directory; *hint* says how to make it."""
    return path if path.is_dir() else missing(f"the directory {path.name} ({hint})")
