"""Writes `docs/commands.md`, the reference of the command line, from the commands and the groups of settings.

    python docs/make_commands.py

`tests/test_documents.py` fails while the page on disk differs from what this makes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

from taco_stream.cli import PANELS, app
from taco_stream.datasets.settings import SELECTING
from taco_stream.run.settings import SETTINGS
from taco_stream.settings import Setting

PAGE = Path(__file__).parent / "commands.md"

INTRODUCTION = """\
# Commands and settings

<!-- Made by `python docs/make_commands.py` from the commands and the settings: change those. -->

`--help` prints the flags of a command. Exit codes are in
[How to …](how-to.md#stop-and-resume), messages and their cures in [Troubleshooting](troubleshooting.md).
"""

SETTINGS_INTRODUCTION = """\
## Settings

A setting is a flag (`--time-limit-factor 2`), an environment variable (`TACO_STREAM_TIME_LIMIT_FACTOR=2`) and a key
of a TOML file (`time_limit_factor = 2`) that `--config` names. Flags override the environment, the environment
overrides the file, and the file overrides the defaults. A flag with `--no-` before its name turns a switch off. Lists
are repeated flags, commas in a variable, and arrays in a file.

The column *when resumed* says which value a later start of the same run may give: the same, one that takes all of the
run's problems and more, or any.
"""

TYPES = {str: "text", int: "integer", float: "number", bool: "switch"}


def reference() -> str:
    """The whole page."""
    group = typer.main.get_command(app)
    commands = group.commands.items()  # type: ignore[attr-defined]
    parts = [INTRODUCTION, *(_command(name, command) for name, command in commands), SETTINGS_INTRODUCTION]
    for settings_group, title in PANELS.items():
        parts.append(f"### {title}\n\n| flag | type | default | when resumed | |\n|---|---|---|---|---|")
        parts.append("".join(_row(each) for each in SETTINGS.values() if each.group is settings_group))
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    """A command: its usage, its own arguments and flags, and the settings that it takes."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    own = [each for each in command.params if each.param_type_name == "option" and each.name not in SETTINGS]
    words = [_metavar(each) if each.required else f"[{_metavar(each)}]" for each in arguments]
    usage = " ".join(["taco-stream", name, *words, "[FLAGS]"])
    lines = [f"## taco-stream {name}\n", f"```text\n{usage}\n```\n", command.help]
    rows = [f"| `{_metavar(each)}` | {_cell(each.help)} |" for each in arguments]
    rows += [f"| `{each.opts[0]}` | {_cell(each.help)} |" for each in own if not each.hidden]
    lines += ["\n| argument | |\n|---|---|", *rows] if rows else []
    lines += ["\nSettings:\n", *taken] if (taken := list(_taken(command))) else []
    return "\n".join(lines) + "\n"


def _metavar(argument: Any) -> str:
    return str(argument.name).upper()


def _taken(command: Any) -> Iterator[str]:
    """The settings that a command takes: the groups that it takes whole, then a line for each other."""
    taken = {each.name for each in command.params} & set(SETTINGS)
    whole, lines = [], []
    for group, title in PANELS.items():
        names = [name for name, each in SETTINGS.items() if each.group is group]
        missing = [name for name in names if name not in taken]
        if not missing:
            whole.append(f"[{title}](#{title.lower()})")
        elif len(missing) < len(names):
            flags = ", ".join(f"`{SETTINGS[name].flag}`" for name in names if name in taken)
            lines.append(f"* of [{title}](#{title.lower()}): {flags}")
    if whole:
        yield f"* all of {', '.join(whole)}"
    yield from lines


def _row(each: Setting) -> str:
    default = "" if each.default in (None, ()) or each.default is False else each.default
    resumed = "may widen" if each.name in SELECTING else "the same" if each.changes_results else "any"
    return f"| `{each.flag}` | {_type(each)} | {default} | {resumed} | {_cell(each.description)} |\n"


def _type(each: Setting) -> str:
    """The type of a setting in words, with its limits."""
    kind = each.kind
    if is_list := get_origin(kind) is tuple:
        kind = get_args(kind)[0]
        kind = getattr(kind, "__origin__", kind)
    word = TYPES.get(kind, "name")
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [f"{text} {value:,}" for name, text in bounds.items() if (value := getattr(each.meta, name)) is not None]
    return " ".join(["list of" if is_list else "", word, " and ".join(limits)]).strip()


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
