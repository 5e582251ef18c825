"""The tree tells the truth: a module imports only from the floors below its own."""

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support import package_source

FLOORS = {
    1: ["errors", "tokens", "clock", "_forks"],
    2: ["policy", "options", "events", "codec", "contracts"],
    3: ["fetchers", "storage"],
    4: [
        *["_asking", "_blueprint", "_checks", "_environment", "_execution", "_flights", "_holding"],
        *["_renewal", "_schedule", "_schema", "_shared", "_source", "_steps"],
    ],
    5: ["pipeline", "_engine", "manager"],
    6: [
        "_acceptance",
        "_arguments",
        "_origins",
        "_challenges",
        "_resend",
        "_hook",
        "_redirects",
        "_deferred",
        "_deadlines",
        "auth",
        "session",
    ],
    7: ["_toml", "config", "contrib", "cli", "testing"],
    8: [""],
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}

# What a module may import on its own floor, besides the private parts of its own folder.
BESIDE = {
    "tokens": ["errors"],
    "fetchers.oauth2": ["fetchers.http", "fetchers.grant"],
    "fetchers._configured": ["fetchers.http"],
    "fetchers.local": ["fetchers.command", "fetchers.stored"],
    "_blueprint": ["_schema"],
    "_environment": ["_blueprint", "_schema"],
    "_source": ["_asking", "_shared"],
    "_execution": ["_asking", "_flights", "_shared", "_steps"],
    "manager": ["_engine"],
    "_holding": ["_asking", "_shared"],
    "_schedule": ["_holding", "_renewal"],
    "_hook": ["_resend"],
    "_redirects": ["_hook"],
    "_deferred": ["_hook"],
    "auth": ["_acceptance", "_arguments", "_origins", "_challenges", "_resend", "_hook", "_redirects"],
    "session": ["auth", "_arguments", "_deadlines", "_deferred", "_origins", "_redirects"],
    "config": ["_toml"],
    "cli": ["_toml", "config"],
}
OPTIONAL = {
    "cryptography",
    "django",
    "jwt",
    "keyring",
    "opentelemetry",
    "prometheus_client",
    "redis",
    "tomli",
}
# The packages beyond the standard library that a floor may import. Floors left out: none.
FOREIGN = {
    3: {"requests", "urllib3", "filelock"} | OPTIONAL,
    6: {"requests", "urllib3"},
    7: {"requests", "urllib3", "pytest", "tomllib"} | OPTIONAL,
}
MODULES = package_source.modules()
NAMES = {module.name for module in MODULES}
IDS = [module.name or "tokenkit" for module in MODULES]
TESTS = sorted(Path(__file__).parent.rglob("test_*.py"))

each_module = pytest.mark.parametrize("module", MODULES, ids=IDS)
each_test_file = pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)


def floor(name: str) -> int:
    return FLOOR_OF[name.split(".")[0]]


def inner_imports(module: package_source.Module) -> Iterator[str]:
    """Yield what *module* imports of the package, each as the longest name that is a module."""
    for dotted, _ in module.imports():
        top, *parts = dotted.split(".")
        if top == "tokenkit":
            tries = (".".join(parts[:length]) for length in range(len(parts), -1, -1))
            yield next(name for name in tries if name in NAMES)


def may_import(importer: package_source.Module, name: str) -> bool:
    folder, _, leaf = name.rpartition(".")
    own = importer.name if importer.is_package else importer.name.rpartition(".")[0]
    if own and own.split(".")[0] == name.split(".")[0]:
        facade, testing = importer.is_package, own.startswith("testing")
        private = leaf.startswith("_") and folder == own
        return facade or testing or private or name in BESIDE.get(importer.name, [])
    return floor(name) < floor(importer.name) or name in BESIDE.get(importer.name, [])


@each_module
def test_a_module_has_a_floor(module: package_source.Module) -> None:
    """A new module is put on a floor before anything else."""
    assert module.name.split(".")[0] in FLOOR_OF


@each_module
def test_a_module_imports_only_from_lower_floors(module: package_source.Module) -> None:
    """On its own floor it imports only what it is declared to stand on."""
    wrong = {name for name in inner_imports(module) if not may_import(module, name)}
    assert set() == wrong


@each_module
def test_the_package_never_imports_its_testing_kit(module: package_source.Module) -> None:
    """The kit is shipped for users' tests; only its own modules know it."""
    if not module.name.startswith("testing"):
        assert [] == [name for name in inner_imports(module) if name.startswith("testing")]


@each_module
def test_a_floor_imports_only_its_foreign_packages(module: package_source.Module) -> None:
    """Values and rules need the standard library alone; errors.py also knows requests.exceptions."""
    dotted = {name for name, _ in module.imports() if not (knows_errors(module) and is_error(name))}
    foreign = {name.split(".")[0] for name in dotted} - sys.stdlib_module_names - {"tokenkit"}
    assert set() == foreign - FOREIGN.get(floor(module.name), set())


def knows_errors(module: package_source.Module) -> bool:
    """The tree of errors hangs below RequestException; floors 4 and 5 meet what foreign fetchers raise."""
    return module.name == "errors" or floor(module.name) in {4, 5}


def is_error(dotted: str) -> bool:
    return dotted.startswith("requests.exceptions.")


@pytest.mark.parametrize("module", [m for m in MODULES if FLOOR_OF.get(m.name.split(".")[0]) == 2])
def test_rules_have_no_threads_and_no_sockets(module: package_source.Module) -> None:
    """Floor 2 decides and declares; it neither waits nor talks."""
    roots = {dotted.split(".")[0] for dotted, _ in module.imports()}
    assert set() == roots & {"threading", "socket", "ssl", "subprocess", "http", "queue", "time"}


# A token judged without `now` asks the wall at that moment: it is a value, and has no clock to be given.
READS_TIME = {"clock", "tokens"}
NOW = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


@pytest.mark.parametrize("module", [m for m in MODULES if not m.name.startswith("testing")], ids=lambda m: m.name)
def test_only_the_clock_reads_time(module: package_source.Module) -> None:
    """Whoever waits or measures is given a Clock."""
    imported = {dotted for dotted, _ in module.imports() if dotted.split(".")[0] == "time"}
    attributes = [ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)]
    named = {".".join(dotted.split(".")[-2:]) for dotted in attributes}
    assert module.name in READS_TIME or set() == imported | (named & NOW)


def test_what_reads_time_does_so() -> None:
    """No module is excused that has no use for it."""
    assert {m.name for m in MODULES for dotted, _ in m.imports() if dotted == "time"} >= READS_TIME


@each_module
def test_a_module_has_one_logger(module: package_source.Module) -> None:
    """It is made once, at the top, under the module's own name, so that users can switch each one on or off."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    made = [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("getLogger")]
    assert made in ([], ["logging.getLogger(__name__)"])
    at_top = [ast.unparse(node) for node in module.tree.body if isinstance(node, ast.Assign)]
    assert [f"logger = {one}" for one in made] == [one for one in at_top if "getLogger" in one]


@each_module
def test_no_block_hides_an_import_from_the_runtime(module: package_source.Module) -> None:
    """A TYPE_CHECKING block would hide a cycle between floors."""
    names = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
    assert "TYPE_CHECKING" not in names | {dotted.split(".")[-1] for dotted, _ in module.imports()}


@each_module
def test_only_optional_packages_are_imported_in_functions(module: package_source.Module) -> None:
    """Everything else stands at the top, where a reader looks for it."""
    functions = [n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef)]
    within = {id(inner) for function in functions for inner in ast.walk(function)}
    late = {name.split(".")[0] for name, statement in module.imports() if id(statement) in within}
    assert set() == late - OPTIONAL


@each_module
def test_a_module_is_read_in_one_sitting(module: package_source.Module) -> None:
    """A module has at most 300 lines, and a function's body at most 40."""
    assert len(module.path.read_text(encoding="utf-8").splitlines()) <= 300
    functions = [n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef)]
    assert [] == [function.name for function in functions if _body_length(function) > 40]


def _body_length(function: ast.FunctionDef) -> int:
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = function.body[1:] if documented else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@each_test_file
def test_a_test_states_its_fact(path: Path) -> None:
    """The docstring of each test says what is true of the package."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    tests = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    assert [] == [test.name for test in tests if not ast.get_docstring(test)]


# The sleeps of the tests, with the reason for each: nothing else tells when it is time to go on.
SLEEPS = {
    "fetchers/test_oauth2.py": (2, "a server that takes its time"),
    "processes/app.py": (1, "for a fork between two instants of the interpreter's own lock"),
    "processes/herd.py": (1, "a client at work"),
    "processes/test_hosts.py": (4, "another program's start, a user who reads, idle time of the host"),
    "servers/sharing.py": (1, "a client at work"),
    "servers/test_batches.py": (1, "a client at work"),
    "shared/daemons.py": (1, "another program's start"),
    "shared/forked.py": (1, "for threads that have asked for the interpreter's own lock"),
    "shared/programs.py": (1, "another program's start"),
    "storage/test_redis.py": (1, "another program's start"),
    "test_manager_stateful.py": (1, "a thread may be blocked anywhere; looks again and again, and for rest alone"),
}


def test_no_test_sleeps_until_a_thread_is_there() -> None:
    """Threads are waited for; the few sleeps are for what cannot be, and each is known."""
    here, found = Path(__file__).parent, {}
    for path in here.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(text))) if "sleep" in text else []
        assert [] == [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "time"], path
        if count := sum(isinstance(n, ast.Call) and ast.unparse(n.func) == "time.sleep" for n in nodes):
            found[path.relative_to(here).as_posix()] = count
    assert found == {name: count for name, (count, _) in SLEEPS.items()}


def test_floors_are_numbered_without_a_gap() -> None:
    """The floors of this file are those of the design, bottom first."""
    assert all(upper == lower + 1 for lower, upper in pairwise(FLOORS))
