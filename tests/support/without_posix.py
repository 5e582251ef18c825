"""What Windows lacks, taken away from the package: a pytest plugin, and the nearest thing to Windows that Linux has.

``pytest -p support.without_posix``, with ``tests/`` on ``PYTHONPATH`` so that it is there before the package is
imported, as ``tox -e without-posix`` has it. To the package, ``os``, ``signal`` and the modules below are then what
they are on Windows, as far as names go; the tests, and what the package imports, have theirs. So files are still locked
by filelock's own choice, and a test may fork.
"""

import builtins
import os
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

MODULES = {"fcntl", "grp", "pwd", "resource", "termios"}
NAMES = {
    "os": {
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fchown", "chown"),
        *("fork", "forkpty", "register_at_fork", "killpg", "getpgid", "setsid", "uname"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups"),
    },
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "setitimer", "pthread_kill"},
}


class Lacking(ModuleType):
    """A module without some of its names; all others are asked for when they are wanted, as a test may patch them."""

    def __init__(self, whole: ModuleType) -> None:
        super().__init__(whole.__name__)
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        if name in NAMES[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} here")
        return getattr(self._whole, name)


def _open(path: Any, *arguments: Any, **options: Any) -> int:
    if os.path.isdir(path):  # noqa: PTH112  # as os.open() has it
        raise PermissionError(13, "Permission denied", path)
    return os.open(path, *arguments, **options)


STAND_INS = {"os": Lacking(os), "signal": Lacking(signal)}
STAND_INS["os"].open = _open  # type: ignore[attr-defined]  # Windows opens no directory, so none can be synced


def _import(name: str, *arguments: Any, **options: Any) -> ModuleType:
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} here", name=name)
    module = builtins.__import__(name, *arguments, **options)
    return STAND_INS.get(name, module)


class Loader(SourceFileLoader):
    """Runs a module with an ``import`` that gives it the stand-ins."""

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class Finder:
    """Finds the package, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.partition(".")[0] == "tokenkit" else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


assert "tokenkit" not in sys.modules, "too late: the package is imported already"
sys.meta_path.insert(0, Finder)
