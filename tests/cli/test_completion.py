"""`tokenkit completion`: what a shell offers when a word is begun."""

import subprocess

import pytest
from support import needs

from tokenkit.cli import main

ASKED = """
tokenkit() { [ "$1 $2 $3" = "list --config b.toml" ] && echo others || echo orders stock; }
COMP_WORDS=(%s) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tokenkit
echo "${COMPREPLY[@]}"
"""


@pytest.mark.posix
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tokenkit com", "completion"),
        ("tokenkit token --min", "--min-valid"),
        ("tokenkit token or", "orders"),
        ("tokenkit token --force or", "orders"),
        ("tokenkit token --config b.toml o", "others"),
        ("tokenkit token --config o", ""),
        ("tokenkit token --format he", "header"),
        ("tokenkit completion z", "zsh"),
    ],
)
def test_bash_completes_commands_options_and_names(
    capsys: pytest.CaptureFixture[str], typed: str, offered: str
) -> None:
    """The names are those that ``tokenkit list`` prints when they are wanted."""
    assert 0 == main(["completion", "bash"])
    script = capsys.readouterr().out + ASKED % typed
    done = subprocess.run([needs.program("bash"), "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert f"{offered}\n" == done.stdout


def test_zsh_reads_what_bash_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """After it has loaded its own modules for that."""
    assert 0 == main(["completion", "bash"])
    for_bash = capsys.readouterr().out
    assert 0 == main(["completion", "zsh"])
    for_zsh = capsys.readouterr().out
    assert for_zsh.endswith(f"autoload -U +X bashcompinit && bashcompinit\n{for_bash}")
    assert for_zsh.startswith("(( $+functions[compdef] )) || { autoload -U +X compinit && compinit }\n")
