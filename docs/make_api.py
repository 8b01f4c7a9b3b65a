"""Writes `docs/api.md`, the reference of what `taco_stream` exports, from the docstrings.

    python docs/make_api.py

The source is parsed, not imported, so that annotations, defaults and comments read as they were written.
`tests/test_api.py` fails while the page on disk differs from what this makes.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import taco_stream

PACKAGE = Path(taco_stream.__file__).parent
PAGE = Path(__file__).parent / "api.md"

INTRODUCTION = """\
# API

<!-- Made by `python docs/make_api.py` from the docstrings: change those. -->

Everything here is imported from `taco_stream` itself (`from taco_stream import LocalEngine`), is typed, and changes
only with a line in the changelog. **Everything else is private**: all other modules and names may
change in any release. A name is loaded when it is first used, and none loads torch into your process. Guides:
[batched_sampling.md](batched_sampling.md), [rewards](how-to/rewards.md), [how-to.md](how-to.md).
"""

SECTIONS = {
    "datasets": "Problems and prompts",
    "prompting": "Problems and prompts",
    "engine": "Generation",
    "extraction": "Programs in answers",
    "evaluator": "Judging",
    "rewards": "Rewards",
    "formats": "Evaluations and runs",
    "notebook": "Evaluations and runs",
    "report": "Evaluations and runs",
    "metrics": "Scores",
    "types": "Values",
    "statistics": "Statistics",
    "events": "Events",
    "errors": "Errors",
}
"""The heading for the public names of each top-level module or folder of the package."""

EVENTS = "taco_stream.events"
"""The module whose classes have a page of their own, `docs/events.md`."""

CONTEXT = {
    "__asynccontextmanager__": "Inside",
    "__aenter__": "Entering",
    "__aexit__": "Leaving",
    "__anext__": "Iterating",
}
"""Special methods whose docstrings are promises, with the word that the page has for each."""

UNTOLD = ("msgspec.Struct", "NamedTuple", "Protocol", "anyio.AsyncContextManagerMixin")
"""Base classes that are how a class is made, not what it is."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def reference() -> str:
    """The whole page."""
    parts, section = [INTRODUCTION], ""
    kinds = [name for name, module in taco_stream._HOMES.items() if module == EVENTS and "Event" not in name]
    for name in taco_stream.__all__:
        module = taco_stream._HOMES[name]
        if section != (section := SECTIONS[module.split(".")[1]]):
            parts.append(f"## {section}\n")
        if name not in kinds:
            parts.append(_entry(name, _file(module)))
        elif name == kinds[0]:
            parts.append(f"Each kind is a class, described in [events.md](events.md): `{'`, `'.join(kinds)}`.\n")
    return "\n".join(parts)


def _file(module: str) -> Path:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _entry(name: str, path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    where = path.relative_to(PACKAGE.parent)
    head = f"### {name}\n\n`{where}`\n"
    body = ast.parse(source).body
    for node, doc in _documented(body):
        match node:
            case ast.ClassDef(name=found) if found == name:
                return head + _class(node, source.splitlines())
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) if found == name:
                return head + _code(_signature(node)) + _docstring(node)
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return head + _code(ast.get_source_segment(source, node) or "") + (f"\n{doc}\n" if doc else "")
    raise LookupError(f"{path} does not define {name}")


def _documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """The statements, each with the string that follows it, which documents a constant or a field."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        match following:
            case ast.Expr(ast.Constant(str(text))):
                yield node, inspect.cleandoc(text)
            case _:
                yield node, ""


def _code(text: str) -> str:
    return f"\n```py\n{text}\n```\n"  # not `python`: the tests run blocks of that name


def _docstring(node: ast.ClassDef | Function) -> str:
    text = ast.get_docstring(node)
    return f"\n{text}\n" if text else ""


def _class(node: ast.ClassDef, lines: list[str]) -> str:
    bases = [_text(base) for base in node.bases]
    shown = [
        base
        for base in bases
        if base not in ("msgspec.Struct", "NamedTuple", "Protocol", "anyio.AsyncContextManagerMixin")
    ]
    head = f"class {node.name}" + (f"({', '.join(shown)})" if shown else "")
    functions = [each for each in node.body if isinstance(each, Function)]
    for each in functions:
        if each.name == "__init__":
            head = _signature(each).replace("def __init__", head).removesuffix(" -> None")
    fields, table = ("", _members(node, lines)) if bases == ["StrEnum"] else _fields(node)
    context = [f"\n*{CONTEXT[each.name]}.* {ast.get_docstring(each)}\n" for each in functions if each.name in CONTEXT]
    methods = [_method(each) for each in functions if not each.name.startswith("_")]
    return _code(head + (f":\n{fields}" if fields else "")) + _docstring(node) + "".join([*context, table, *methods])


def _members(node: ast.ClassDef, lines: list[str]) -> str:
    """A table of an enumeration's members; what is said of one stands behind it, as a comment, or below it."""
    rows = []
    for member, doc in _documented(node.body):
        match member:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(str(value))):
                remark = lines[member.lineno - 1].partition("  # ")[2]
                rows.append(f"| `{name}` | `{value}` | {' '.join((doc or remark).split()).replace('<', '&lt;')} |\n")
    return "\n| member | value | |\n|---|---|---|\n" + "".join(rows)


def _fields(node: ast.ClassDef) -> tuple[str, str]:
    """The fields as lines of code; or as a table if they are settings, which have descriptions. The other is empty."""
    lines, rows, has_descriptions = [], [], False
    for field, doc in _documented(node.body):
        match field:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if name[0] != "_":
                kind, description = _described(annotation)
                has_descriptions = has_descriptions or bool(description)
                lines += [f"    # {doc}"] if doc else []
                lines.append("    " + _with_default(f"{name}: {kind}", value))
                default = "" if value is None else _text(value)
                kind = kind.replace("|", "\\|")
                rows.append(f"| `{name}` | `{kind}` | `{default}` | {description or doc} |\n")
    if has_descriptions:
        return "", "\n| field | type | default | |\n|---|---|---|---|\n" + "".join(rows)
    return "\n".join(lines), ""


def _described(annotation: ast.expr) -> tuple[str, str]:
    """The type of a field and, if it is a setting, its description."""
    match annotation:
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([kind, ast.Call(args=args, keywords=keywords)])):
            said = args[0] if args else next(each.value for each in keywords if each.arg == "description")
            return _text(kind), ast.literal_eval(said)
    return _text(annotation), ""


def _method(node: Function) -> str:
    is_property = any(_text(each) == "property" for each in node.decorator_list)
    returned = _text(node.returns) if node.returns else ""
    head = f"{node.name}: {returned}  # property" if is_property else _signature(node)
    return f"\n#### {node.name}\n" + _code(head) + _docstring(node)


def _signature(node: Function) -> str:
    """The head of a function without `self`, on one line if it fits, otherwise with a line for each parameter."""
    decorators = [f"@{_text(each)}\n" for each in node.decorator_list if "context" in _text(each)]
    parameters = [each for each in _parameters(node.args) if each != "self"]
    start = f"{''.join(decorators)}{'async ' * isinstance(node, ast.AsyncFunctionDef)}def {node.name}("
    end = ")" + (f" -> {_text(node.returns)}" if node.returns else "")
    line = start + ", ".join(parameters) + end
    return line if len(line) <= 100 else start + "\n" + "".join(f"    {each},\n" for each in parameters) + end


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """Each parameter as it is written, and the star before those that are keyword-only."""
    firsts = len(arguments.args) - len(arguments.defaults)
    for parameter, default in zip(arguments.args, [*[None] * firsts, *arguments.defaults], strict=True):
        yield _with_default(_text(parameter), default)
    if arguments.kwonlyargs:
        yield "*"
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _with_default(_text(parameter), default)


def _with_default(text: str, default: ast.expr | None) -> str:
    return text if default is None else f"{text} = {_text(default)}"


def _text(node: ast.AST) -> str:
    """The source of a node, with the formatter's quotes: it formats the blocks of this page, too."""
    return ast.unparse(node).replace("'", '"')


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
