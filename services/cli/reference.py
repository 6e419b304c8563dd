"""docs/cli.md: every command with its arguments and options, from the commands' own help.

`python -m services.cli.reference > docs/cli.md`; a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from services.cli.__main__ import application

HEAD: Final = """# The `mailkeep` command

Made from the commands' own help by `make docs`; do not edit.

`MAILKEEP_DATA` is the data folder (`var`), `MAILKEEP_CONFIG` the configuration file (`mailkeep.yaml` in the data
folder), and `MAILKEEP_IMAP_MAXSESSIONS=...` overrides one option ([options.md](options.md)).

Tables are for people; `--json` gives programs the same facts, unrounded. Outcomes go to standard output, notes and
errors to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused or failed; standard error says why |
| 2 | the command line cannot be understood |
| 69 | the store, or a service, does not answer: later may help |
| 78 | the configuration is bad; every error is named |
| 130 | interrupted; `import`, `export` and `migrate imap` go on when they are repeated |
"""
SKIPPED: Final = frozenset({"help", "install_completion", "show_completion"})


def markdown() -> str:
    """The page."""
    group = typer.main.get_command(application())
    sections = ["\n".join(_section(words, command)) for words, command in _commands("mailkeep", group)]
    return "\n".join([HEAD, *sections])


def _commands(words: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    """Every command that does something, with the words that call it."""
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _commands(f"{words} {name}", below)
    elif isinstance(command, TyperCommand):
        yield words, command


def _section(words: str, command: TyperCommand) -> Iterator[str]:
    arguments = [each for each in command.params if isinstance(each, TyperArgument)]
    options = [each for each in command.params if isinstance(each, TyperOption) and each.name not in SKIPPED]
    yield f"## {words}"
    usage = [words, *(_placeholder(each) for each in arguments), *(["[OPTIONS]"] if options else [])]
    yield f"```\n{' '.join(usage)}\n```"
    yield " ".join((command.help or "").replace("\n\n", "\0").split()).replace("\0", "\n\n") + "\n"
    if arguments or options:
        yield "| | |\n|---|---|"
    for argument in arguments:
        yield f"| `{_metavar(argument)}` | {_cell(argument.help)} |"
    for option in options:
        yield f"| `{_spelling(option)}` | {_cell(option.help)}{_default(option)} |"
    yield ""


def _placeholder(argument: TyperArgument) -> str:
    return _metavar(argument) if argument.required else f"[{_metavar(argument)}]"


def _metavar(parameter: TyperArgument | TyperOption) -> str:
    return parameter.metavar or (parameter.name or "").upper().replace("_", "-")


def _spelling(option: TyperOption) -> str:
    names = " / ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    return f"{names} {_cell(_metavar(option))}"


def _default(option: TyperOption) -> str:
    value = option.default
    if option.is_flag or callable(value) or value in (None, "", [], ()):
        return ""
    return f" Default: {getattr(value, 'value', value)}."


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
