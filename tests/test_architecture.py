"""The tree is the architecture: one test a rule, each of which names every module that breaks it."""

import ast
import re
import sys
from pathlib import Path

from support.package_source import ROOT, Module, modules

# Bottom first. Floors 1 and 2 are what everybody stands on; floor 3 are the edges, which know none of each other.
FLOORS = [
    {"errors", "tokens", "clock", "policy", "options", "events", "contracts"}
    | {"_checks", "_dataclasses", "_faces", "_per_process", "_guard", "_token_answers"},
    {"_net", "_secrecy", "secrets", "_refresh_thread"},
    {"fetchers", "storage"},
    {"_sources"},
    {"pipeline", "manager"},
    {"auth"},
    {"config", "cli", "contrib", "testing"},
    {"", "__main__"},
]
EDGES = FLOORS[2]
SHARED = {"_net", "_secrecy", "_sources"}  # private packages that are there for all
OPTIONAL = {"cryptography", "django", "jwt", "keyring", "opentelemetry", "prometheus_client", "redis", "tomli"}
# What few programs need and takes long to load, so that it is loaded where it is used; tests/test_imports.py counts.
RARE = {"dataclasses", "html", "inspect", "pickle"}
# The packages beyond the standard library that a room may import. Rooms left out: none.
FOREIGN = {
    "errors": {"requests"},
    "_net": {"requests", "urllib3"},
    "_secrecy": {"requests"} | OPTIONAL,
    "fetchers": {"requests", "urllib3"} | OPTIONAL,
    "storage": {"filelock"} | OPTIONAL,
    "auth": {"requests", "urllib3"},
    "config": {"tomli"},
    "contrib": OPTIONAL,
    "testing": {"requests", "pytest"} | OPTIONAL,
}
# A token judged without `now` asks the wall at that moment: it is a value, and has no clock to be given.
READS_TIME = {"clock", "tokens"}
NOW = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
WAITS_OR_TALKS = {"threading", "socket", "ssl", "subprocess", "http", "queue", "time"}
THREADED = {"_guard", "_per_process", "clock"}  # of floor 1: each is about threads
MOST_LINES = 300
LONGER = {
    "contracts": "what users implement, mostly docstrings",
    "_refresh_thread": "a heap, places and workers, of which each step is one thread's",
    "manager.manager": "the face that users read, mostly docstrings",
    "pipeline.pipeline": "the face that users read and a manager's view of it, mostly docstrings",
    "manager._engine": "the one class with a lock: its fields and all that touches them are read together",
}  # a module of more lines, and why it is one idea all the same
LONGEST_BODY = 40

MODULES = modules()
NAMES = {module.name for module in MODULES}
TESTS = sorted(Path(__file__).parent.rglob("test_*.py"))
FUNCTION = re.compile(r"^( *)def (test_\w+)\((?:.|\n)*?:\n(.*)$", re.MULTILINE)


def floor(name: str) -> int:
    room = name.split(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports() -> list[tuple[Module, str]]:
    """Every import of one module of the package by another."""
    return [(module, name) for module in MODULES for name in sorted(module.imported_modules(NAMES))]


def told(found: list[tuple[Module, str]]) -> list[str]:
    return [f"{module.name or 'tokenkit'} imports {name}" for module, name in found]


def test_the_tree_has_the_rooms_of_the_design() -> None:
    """What lies in the package's folder has its floor here, and nothing here is missing there."""
    assert {module.room for module in MODULES} == set().union(*FLOORS)


def test_imports_lead_down() -> None:
    """A module imports from lower floors, or from its own."""
    assert [] == told([(module, name) for module, name in imports() if floor(name) > floor(module.name)])


def test_an_edge_knows_no_other_edge() -> None:
    """Each owns one kind of side effect: a fetcher knows no storage and a storage no fetcher."""
    crossing = [(m, name) for m, name in imports() if m.room in EDGES and name.split(".")[0] in EDGES - {m.room}]
    assert [] == told(crossing)


def test_there_is_no_circle() -> None:
    """Modules can be put in an order in which each stands on earlier ones only."""
    stands_on = {module.name: module.imported_modules(NAMES) for module in MODULES}
    while ready := {name for name, below in stands_on.items() if not below}:
        stands_on = {name: below - ready for name, below in stands_on.items() if name not in ready}
    assert {} == stands_on


def private_part(name: str) -> str:
    """The innermost private package or module in *name* that is not shared, or ''."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        if parts[length - 1].startswith("_"):
            return ".".join(parts[:length])
    return ""


def test_private_parts_are_their_packages_own() -> None:
    """What begins with an underscore is imported inside the package that it lies in, at any depth, and nowhere else."""
    wrong = []
    for module, name in imports():
        part = private_part(name)
        home = part.rpartition(".")[0]
        inside = module.name == home or module.name.startswith(f"{home}.")
        if part and name.split(".")[0] not in SHARED and not inside:
            wrong.append((module, name))
    assert [] == told(wrong)


def test_the_package_never_imports_its_testing_kit() -> None:
    """The kit is shipped for users' tests; only its own modules know it."""
    assert [] == told([(m, name) for m, name in imports() if name.startswith("testing") and m.room != "testing"])


def test_a_room_imports_only_its_foreign_packages() -> None:
    """Values and rules need the standard library alone; errors.py also knows requests' exceptions."""
    known = sys.stdlib_module_names | {"tokenkit", "__future__", "tomllib"}  # tomllib: from Python 3.11 on
    wrong = []
    for module in MODULES:
        roots = {dotted.split(".")[0] for dotted, _ in module.imports()}
        wrong += [(module, root) for root in roots - known - FOREIGN.get(module.room, set())]
    assert [] == told(wrong)


def test_values_and_rules_neither_wait_nor_talk() -> None:
    """Floor 1 decides and declares, but for what is about threads or time itself."""
    wrong = []
    for module in MODULES:
        if floor(module.name) == 0 and module.name not in THREADED | READS_TIME:
            roots = {dotted.split(".")[0] for dotted, _ in module.imports()}
            wrong += [(module, root) for root in roots & WAITS_OR_TALKS]
    assert [] == told(wrong)


def test_only_the_clock_reads_time() -> None:
    """Whoever waits or measures is given a Clock."""
    reading = set()
    for module in MODULES:
        attributes = [ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)]
        named = {".".join(dotted.split(".")[-2:]) for dotted in attributes}
        if named & NOW or any(dotted.split(".")[0] == "time" for dotted, _ in module.imports()):
            reading.add(module.name)
    assert READS_TIME == {name for name in reading if not name.startswith("testing")}


def test_a_package_has_one_logger() -> None:
    """It is made once a module, at its top, under a public package's name, so that users know what to switch.

    And typed, as pyright wants every public name to be.
    """
    public = {f'"tokenkit.{module.name}"' for module in MODULES if module.is_package and module.is_public}
    wrong = []
    for module in MODULES:
        calls = [ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        made = [call for call in calls if "getLogger(" in call]
        at_top = [ast.unparse(node) for node in module.tree.body if isinstance(node, ast.AnnAssign)]
        allowed = {f"logging.getLogger({name})".replace('"', "'") for name in public | {'"tokenkit"'}}
        if made and not (len(made) == 1 and made[0] in allowed and f"logger: logging.Logger = {made[0]}" in at_top):
            wrong.append((module, made))
    assert [] == wrong


def test_the_manual_lists_every_logger() -> None:
    """Users find there what they can switch."""
    page = (Path(__file__).parent.parent / "docs" / "howto" / "observing.rst").read_text(encoding="utf-8")
    used = {
        name
        for module in MODULES
        for name in re.findall(r'^logger: logging.Logger = .*getLogger\("(.+)"\)$', module.text, re.MULTILINE)
    }
    assert used == set(re.findall(r"^   \* - ``(tokenkit[a-z.]*)``$", page, re.MULTILINE))


def test_no_block_hides_an_import_from_the_runtime() -> None:
    """A TYPE_CHECKING block would hide a circle."""
    hiding = [module.name for module in MODULES if "TYPE_CHECKING" in module.path.read_text(encoding="utf-8")]
    assert [] == hiding


def test_only_what_few_need_is_imported_in_functions() -> None:
    """All but optional packages, and rare and heavy ones, stands at the top, where a reader looks for it."""
    wrong = []
    for module in MODULES:
        within = {id(inner) for function in module.functions() for inner in ast.walk(function)}
        late = {name.split(".")[0] for name, statement in module.imports() if id(statement) in within}
        wrong += [(module, name) for name in late - OPTIONAL - RARE]
    assert [] == told(wrong)


def test_a_module_is_read_in_one_sitting() -> None:
    """It has at most 300 lines, or its reason to have more."""
    long = {module.name for module in MODULES if module.lines > MOST_LINES}
    assert long == set(LONGER)


def test_a_function_is_seen_at_a_glance() -> None:
    """Its body has at most 40 lines."""
    long = [(m.name, one.name) for m in MODULES for one in m.functions() if body_length(one) > LONGEST_BODY]
    assert [] == long


def body_length(function: ast.FunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_a_test_states_its_fact() -> None:
    """The docstring of each test says what is true of the package."""
    silent = []
    for path in TESTS:
        for found in FUNCTION.finditer(path.read_text(encoding="utf-8")):
            if not found[3].lstrip().startswith('"""'):
                silent.append(f"{path.name}::{found[2]}")
    assert [] == silent


# The sleeps of the tests, with the reason for each: nothing else tells when it is time to go on.
SLEEPS = {
    "benchmarks/at_work.py": (1, "between two requests of a client at work"),
    "benchmarks/scenarios/boundary.py": (1, "until a request of a schedule is due"),
    "benchmarks/scenarios/herd.py": (1, "until a token has expired at a server of another process"),
    "benchmarks/scenarios/managers.py": (1, "between two looks at the threads"),
    "benchmarks/scenarios/signals.py": (1, "between two requests of a client at work"),
    "benchmarks/stress.py": (2, "how long a fetch takes, and between two revocations"),
    "cli/test_sidecar.py": (2, "another program's start"),
    "fetchers/oauth2/test_grants.py": (2, "a server that takes its time"),
    "hosting/test_hosting.py": (1, "another program's restart"),
    "manager/proof/many.py": (5, "how long a fetch takes, and while managers are left to themselves"),
    "manager/test_stateful.py": (1, "a thread may be blocked anywhere; looks again and again, and for rest alone"),
    "processes/app.py": (1, "for a fork between two instants of the interpreter's own lock"),
    "processes/herd.py": (2, "a client at work, and until all begin at the same instant"),
    "processes/test_hosts.py": (4, "another program's start, a user who reads, idle time of the host"),
    "servers/renewing.py": (2, "clients at work, and a person who signs in"),
    "servers/sharing.py": (1, "a client at work"),
    "servers/test_batches.py": (1, "a client at work"),
    "storage/test_redis.py": (1, "another program's start"),
    "support/baton.py": (1, "for a thread that was started to come; it has no other sign"),
    "support/daemons.py": (1, "another program's start"),
    "support/forked.py": (1, "for threads that have asked for the interpreter's own lock"),
    "support/programs.py": (1, "another program's start"),
    "support/rotation_kills.py": (1, "until a kill at a random moment"),
    "test_refresh_thread.py": (1, "until a thread that does not begin is given up; nothing comes of it to wait for"),
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


def test_the_folder_shows_the_rooms_and_nothing_else() -> None:
    """What is neither a room nor the package's own face is out of place."""
    own = {"__init__.py", "__init__.pyi", "_dataclasses.pyi", "__main__.py", "py.typed", "__pycache__"}
    rooms = set().union(*FLOORS)
    strays = {path.name for path in ROOT.iterdir()} - own - rooms - {f"{room}.py" for room in rooms}
    assert set() == strays
