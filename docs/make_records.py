"""Writes `docs/records.md`, the reference of a run's files, from the structs that are their lines.

    python docs/make_records.py

`tests/test_documents.py` fails while the page on disk differs from what this makes.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from taco_stream.metrics import Estimate
from taco_stream.report.summary import Coverage, LongPrompt, Summary, Throughput
from taco_stream.store.manifest import Manifest
from taco_stream.store.record_line import RecordLine
from taco_stream.types import (
    ComparisonMode,
    Completion,
    ExtractionMethod,
    FinishReason,
    Observations,
    Record,
    Status,
    Verdict,
)

PAGE = Path(__file__).parent / "records.md"

INTRODUCTION = """\
# The files of a run

<!-- Made by `python docs/make_records.py` from the docstrings: change those. -->

A run directory holds lines of JSON that are only ever appended to, and three files of JSON or HTML that are replaced
as a whole. `events.jsonl` has [a page of its own](events.md); how they are written and repaired is in
[design/run-directory.md](design/run-directory.md). A reader should ignore fields that it does not know: a newer version
may add some. Times are seconds, sizes bytes, indices count from 0, and what is called None is null here.
"""

FILES: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "completions.jsonl": (Completion,),
    "results.jsonl": (RecordLine, Observations, Verdict),
    "run.json": (Manifest,),
    "summary.json": (Summary, Estimate, Coverage, LongPrompt, Throughput),
}

SETS: tuple[type[StrEnum], ...] = (Status, ComparisonMode, FinishReason, ExtractionMethod)

DESCRIBED = {RecordLine: (Record, inspect.getmodule(RecordLine))}
"""Structs whose fields are described elsewhere."""

WORDS = {int: "integer", float: "number", str: "text", bool: "boolean", type(None): "null", Any: "any value"}


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for name, structs in FILES.items():
        parts.append(f"## {name}\n")
        parts += [_struct(each, is_file=each is structs[0]) for each in structs]
    parts.append("## Closed sets\n")
    parts += [_set(each) for each in SETS]
    return "\n".join(parts)


def _struct(kind: type[msgspec.Struct], *, is_file: bool) -> str:
    described = DESCRIBED.get(kind, (kind,))
    text = "\n\n".join(inspect.cleandoc(each.__doc__ or "") for each in described)
    head = "" if is_file else f"### {kind.__name__}\n\n"
    (base,) = kind.__bases__
    inherited = base.__struct_fields__ if base in FILES["results.jsonl"] else ()
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in inherited]
    rows = [f"| `{field.name}` | {_type_name(field.type)} |" for field in fields]
    rows += [f"| | and all fields of [{base.__name__}](#{base.__name__.lower()}) |"] if inherited else []
    return "\n".join([f"{head}{text}\n", "| field | type |\n|---|---|", *rows, ""])


def _set(kind: type[StrEnum]) -> str:
    rows = [f"| `{value}` | {remark} |" for value, remark in _members(kind)]
    return "\n".join(
        [f"### {kind.__name__}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n", "| value | |\n|---|---|", *rows, ""]
    )


def _members(kind: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """The values of a set, each with the comment behind it or the string below it."""
    source = inspect.getsource(kind)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    lines = source.splitlines()
    for node, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            remark = lines[node.lineno - 1].partition("  # ")[2]
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                remark = " ".join(str(following.value.value).split())
            yield str(node.value.value), remark.replace("<", "&lt;")


def _type_name(kind: Any) -> str:
    """A type in the words of JSON."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return f"list of {_type_name(arguments[0])}"
    if get_origin(kind) is Mapping:
        key = f", by [{arguments[0].__name__}](#{arguments[0].__name__.lower()})" if arguments[0] in SETS else ""
        return f"object of {_type_name(arguments[1])}{key}"
    if arguments:
        return " or ".join(_type_name(each) for each in arguments)
    return WORDS.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
