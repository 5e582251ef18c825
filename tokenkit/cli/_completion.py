"""Completion for bash and zsh: commands, options and their values, and the names of the configuration's tables."""

from __future__ import annotations

import argparse

from tokenkit.cli._formats import FORMATS

__all__ = ["SHELLS", "script"]

SHELLS = ("bash", "zsh")

_BASH = """\
_tokenkit() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" each
    local -a config=()
    for ((each = 1; each < COMP_CWORD - 1; each++)); do
        [ "${{COMP_WORDS[each]}}" = --config ] && config=(--config "${{COMP_WORDS[each+1]}}")
    done
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    elif [[ "$word" = -* ]]; then
        COMPREPLY=($(compgen -W "{options}" -- "$word"))
    else
        case "$before" in
            --format) COMPREPLY=($(compgen -W "{formats}" -- "$word")) ;;
            completion) COMPREPLY=($(compgen -W "{shells}" -- "$word")) ;;
            {valued}) COMPREPLY=() ;;
            *) COMPREPLY=($(compgen -W "$(tokenkit list "${{config[@]}}" 2>/dev/null)" -- "$word")) ;;
        esac
    fi
}}
complete -o default -F _tokenkit tokenkit
"""
# compdef is there once compinit ran, which a shell's own file may leave out.
_ZSH = """\
(( $+functions[compdef] )) || { autoload -U +X compinit && compinit }
autoload -U +X bashcompinit && bashcompinit
"""


def script(shell: str, parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]) -> str:
    """Return what *shell* evaluates."""
    actions = [action for one in (parser, *commands.values()) for action in one._actions]
    options = {option for action in actions for option in action.option_strings}
    valued = {option for action in actions for option in action.option_strings if action.nargs != 0}
    text = _BASH.format(
        commands=" ".join(commands),
        options=" ".join(sorted(options)),
        valued="|".join(sorted(valued)),
        formats=" ".join(FORMATS),
        shells=" ".join(SHELLS),
    )
    return text if shell == "bash" else _ZSH + text
