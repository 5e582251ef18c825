"""Completion for bash and zsh: commands, options, and the names of the configuration's tables."""

from __future__ import annotations

import argparse

__all__ = ["script"]

_BASH = """\
_tokenkit() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}"
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    elif [[ "$word" = -* ]]; then
        COMPREPLY=($(compgen -W "{options}" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$(tokenkit list 2>/dev/null)" -- "$word"))
    fi
}}
complete -o default -F _tokenkit tokenkit
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def script(shell: str, parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]) -> str:
    """Return what *shell* evaluates."""
    actions = [action for one in (parser, *commands.values()) for action in one._actions]
    options = {option for action in actions for option in action.option_strings}
    text = _BASH.format(commands=" ".join(commands), options=" ".join(sorted(options)))
    return text if shell == "bash" else _ZSH + text
