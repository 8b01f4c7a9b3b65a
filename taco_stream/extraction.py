"""From a completion's text to the program in it.

A base model's text is the program up to the first stop string. A chat answer is looked through in this order:

1. Reasoning between tags (`<think> … </think>` and its kin) is removed. Reasoning that never closes is all there is:
   there is no program, and the reasoning is never run.
2. The last complete fenced block that is tagged as Python; without one, the last untagged block that is Python, or else
   the last untagged block. Blocks of other languages do not count. Where the name of the wanted function is known and
   some block defines it, only blocks that do are looked at: the last block is often an example of its use.
3. Without such a block, bare code: the text as it stands, or cut free of the prose before and after it, where what
   is left is Python and does something.

A program that is not Python as written is repaired where only one repair makes it Python: invisible characters removed,
common indentation removed, tabs expanded. Everything here is pure; nothing is evaluated, only parsed.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from taco_stream.types import ExtractionMethod


class Extraction(NamedTuple):
    """The program found, and how; `program` is None exactly where the method is `NONE`."""

    program: str | None
    method: ExtractionMethod


_NOTHING = Extraction(None, ExtractionMethod.NONE)


def extract_base(text: str, stop_strings: Sequence[str] = ()) -> Extraction:
    """The text before the earliest stop string, as TACO's `generation.py` cuts it; nothing where that is blank."""
    ends = [end for stop in stop_strings if stop and (end := text.find(stop)) >= 0]
    program = text[: min(ends, default=len(text))]
    return Extraction(program, ExtractionMethod.WHOLE_TEXT) if program.strip() else _NOTHING


def extract_chat(text: str, *, entry_point: str | None = None, join_blocks: bool = False) -> Extraction:
    """The program of a chat answer, found as the module describes, with newlines as `\\n`.

    `entry_point` names the function that the tests call. `join_blocks` takes all blocks of the kind found, in order,
    instead of the last, whatever they define.
    """
    answer = _without_reasoning(text.replace("\r\n", "\n").replace("\r", "\n"))
    if answer is None:
        return _NOTHING
    fenced = _program_blocks(list(_blocks(answer)), None if join_blocks else entry_point)
    if fenced:
        program = "\n\n".join(fenced) if join_blocks else fenced[-1]
        return Extraction(_repaired(program), ExtractionMethod.FENCED_BLOCK)
    bare = _bare_code(answer)
    return _NOTHING if bare is None else Extraction(bare, ExtractionMethod.BARE_CODE)


# --- reasoning

_NAME = r"(?:seed:)?think(?:ing)?|reasoning|thoughts?|reflection"
_OPENING = re.compile(rf"^[ \t]*(?:<({_NAME})>|\[(THINK)\])", re.MULTILINE | re.IGNORECASE)
_CLOSING = re.compile(
    rf"^[ \t]*(?:</(?:{_NAME})>|\[/THINK\])|(?:</(?:{_NAME})>|\[/THINK\])[ \t]*$", re.MULTILINE | re.IGNORECASE
)
"""Tags count at the start of a line, closing ones also at its end: a program may well print one."""


def _without_reasoning(text: str) -> str | None:
    """The answer outside reasoning tags; None where reasoning does not close.

    A closing tag without an opening one ends reasoning that began in the prompt, as many templates have it.
    """
    opening, closing = _OPENING.search(text), _CLOSING.search(text)
    if closing and (opening is None or closing.start() < opening.start()):
        text = text[closing.end() :]
        opening = _OPENING.search(text)
    while opening:
        closing = _CLOSING.search(text, opening.end())
        if closing is None:
            return None
        text = text[: opening.start()] + text[closing.end() :]
        opening = _OPENING.search(text)
    return text


# --- fenced blocks

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*)$", re.MULTILINE)
_PYTHON_TAGS = frozenset({"python", "python3", "py", "py3", "python 3", "python2", "pypy", "pypy3", "cpython"})


class _Block(NamedTuple):
    tag: str
    content: str

    @property
    def is_python(self) -> bool:
        return self.tag in _PYTHON_TAGS


def _blocks(text: str) -> Iterator[_Block]:
    """The complete fenced blocks of a Markdown text: each closes with a bare fence at least as long as its own."""
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[2].startswith(opening[2]) and not fence[3].strip():
            content = text[opening.end() + 1 : fence.start()]
            yield _Block(_tag_of(opening[3]), _outdented(content, len(opening[1])))
            opening = None


def _tag_of(info: str) -> str:
    """The language of a fence's info string: `Python`, `{.python .numberLines}` and `python title=a.py` are python."""
    name = info.strip().lower().strip("{}").lstrip(".")
    if name.startswith("python 3"):
        return "python 3"
    return re.split(r"[\s:,{]", name, maxsplit=1)[0]


def _outdented(content: str, width: int) -> str:
    """The content of a block whose fence was indented, as in a list: that much indentation is not the program's."""
    if not width:
        return content
    return "\n".join(re.sub(rf"^[ \t]{{0,{width}}}", "", line) for line in content.split("\n"))


def _program_blocks(blocks: Sequence[_Block], entry_point: str | None) -> list[str]:
    """The blocks that may be the program, in order, by the rules of the module."""
    found = [block.content for block in blocks if block.is_python and block.content.strip()]
    if not found:
        untagged = [block.content for block in blocks if not block.tag and block.content.strip()]
        found = [content for content in untagged if _is_python(_repaired(content))] or untagged
    if entry_point:
        defines = re.compile(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(entry_point)}\b", re.MULTILINE)
        found = [content for content in found if defines.search(content)] or found
    return found


# --- bare code

_STARTS_CODE = re.compile(r"^(?:import|from|def|class|async def|@\w|if|for|while|with|try|\w+(?:, *\w+)* *=(?!=))\b")
_ATTEMPTS = 24
"""Cuts tried at either end; each costs a parse. Answers have fewer paragraphs of prose than that."""


def _bare_code(text: str) -> str | None:
    """The text where it is code, else the longest run of whole paragraphs from a line that begins code."""
    text = _before_lone_fence(text).lstrip("\n")
    whole = _repaired(text)
    if _does_something(whole):
        return whole
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _STARTS_CODE.match(line)]
    for start in starts[:1]:
        for end in _paragraph_ends(lines, start):
            candidate = _repaired("\n".join(lines[start:end]) + "\n")
            if _does_something(candidate):
                return candidate
    return None


def _before_lone_fence(text: str) -> str:
    """The code of an answer with one fence: what follows an opening one, what precedes one that only closes."""
    fences = list(_FENCE.finditer(text))
    if len(fences) != 1:
        return text
    fence = fences[0]
    after = text[fence.end() + 1 :]
    if fence[3].strip():
        return after if _tag_of(fence[3]) in _PYTHON_TAGS else ""
    before = text[: fence.start()]
    return before if _does_something(_repaired(before)) else after


def _paragraph_ends(lines: Sequence[str], start: int) -> list[int]:
    """Where the text from `start` may end: at its end, or before a blank line, the longest first."""
    blank = [number for number in range(len(lines) - 1, start, -1) if not lines[number].strip()]
    return [len(lines), *blank[:_ATTEMPTS]]


# --- what is Python

_PARSE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError)
"""What `ast.parse` raises on text that is no program, null bytes and absurd nesting included."""


def _parsed(program: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(program)
        except _PARSE_ERRORS:
            return None


def _is_python(program: str) -> bool:
    return _parsed(program) is not None


def _does_something(program: str) -> bool:
    """Whether the text is a program with an effect; a word of prose is an expression, but does nothing."""
    tree = _parsed(program)
    return tree is not None and any(
        not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in tree.body
    )


# --- repairs

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"), None) | {0xA0: " ", 0x3000: " "}


def _repaired(program: str) -> str:
    """The program, or the one repair of it that is Python; left as it is where none or more than one meaning fits."""
    if _is_python(program):
        return program
    visible = program.translate(_INVISIBLE)
    dedented = textwrap.dedent(visible).lstrip("\n")
    for candidates in ([visible], [dedented], [dedented.expandtabs(4), dedented.expandtabs(8)]):
        trees = {text: tree for text in candidates if (tree := _parsed(text)) is not None}
        if len(trees) == 1 or len({_meaning(tree) for tree in trees.values()}) == 1:
            return next(iter(trees))
    return program


def _meaning(tree: ast.Module) -> str:
    try:
        return ast.dump(tree)
    except RecursionError:
        return str(id(tree))
