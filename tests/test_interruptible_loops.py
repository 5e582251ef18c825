"""No loop stands where an interrupt that falls into it would skip the end of a block: of a lock, above all.

From CPython 3.13 on a loop's jump back may belong to no block of its function (python/cpython#130279): what a signal
handler raises there leaves ``with lock:`` with the lock locked. Out of a called function it comes by the rules.
"""

import ast
import dis
import sys
from collections.abc import Iterator
from types import CodeType

import pytest
from support.package_source import Module, modules

LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from codes(one)


def has_to_end(block: ast.With | ast.Try) -> bool:
    """Whether something must be done at the end of *block*, whatever falls into it; to forget a name is nothing."""
    if isinstance(block, ast.Try):
        catches_all = any(one.type is None or ast.unparse(one.type) == "BaseException" for one in block.handlers)
        return catches_all or not all(isinstance(one, ast.Delete) for one in block.finalbody)
    return True


def guarded_lines(tree: ast.AST) -> set[int]:
    """Return the lines of *tree* with a loop inside a block that has to end."""
    lines = set[int]()
    for block in ast.walk(tree):
        if isinstance(block, (ast.With, ast.Try)) and has_to_end(block):
            after = [*block.handlers, *block.orelse] if isinstance(block, ast.Try) and block.finalbody else []
            for node in (one for part in [*block.body, *after] for one in ast.walk(part)):
                if isinstance(node, LOOPS):
                    lines |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return lines


def open_jumps(code: CodeType) -> set[int]:
    """Return the lines of *code* from which a loop jumps back outside of every block."""
    bytecode = dis.Bytecode(code)
    return {
        one.positions.lineno or 0
        for one in bytecode
        if one.opname == "JUMP_BACKWARD"
        and one.positions is not None
        and not any(entry.start <= one.offset < entry.end for entry in bytecode.exception_entries)
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="blocks are no table, but instructions of their own")
@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_no_loop_lets_an_interrupt_past_the_end_of_its_block(module: Module) -> None:
    """Each is in a function of its own, or has no jump that the interpreter leaves open."""
    guarded = guarded_lines(module.tree)
    open_there = set()
    for code in codes(compile(module.tree, str(module.path), "exec")):
        if not code.co_name.startswith("<"):  # a comprehension before 3.12: a function that is called
            open_there |= open_jumps(code) & guarded
    assert set() == open_there
