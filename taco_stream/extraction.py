"""From a completion's text to the program in it.

A base model's text is the program up to the first stop string. A chat answer is looked through in this order, and the
first that is found counts:

1. Reasoning between tags (`<think> … </think>` and its kin) is removed. Reasoning that never closes is all there is:
   there is no program, and the reasoning is never run.
2. The last fenced block of Python that is a program and not sample output or a shell session; without one, the last
   untagged block that is. Blocks of other languages do not count. If the name of the wanted function is known and
   some block defines it, only blocks that do are looked at: the last block is often an example of its use.
3. Code between tags (`<code> … </code>`, `[PYTHON] … [/PYTHON]`), if it is a program.
4. A block that was never closed: the answer was cut off, or its end was a stop string.
5. Bare code: the text unchanged, or cut free of the prose before and after it, if the rest is Python and does
   something. Paragraphs of code are never cut off as prose, so an answer that was cut off in the middle of its program
   does not become another program.

Fences are read line by line and not by CommonMark's rules: models write words behind a closing fence, glue it to the
code, open a block twice, or put fences in a docstring. `markdown-it-py`, which keeps those rules, finds 27 of the 51
fenced programs of `tests/chat_answers.toml`. Here the line that closes a block of Python is the first behind which its
content is Python, and only if there is none the first fence at all.

A program that is not Python as written is repaired if only one repair makes it Python: invisible characters removed,
common indentation removed, tabs expanded, HTML's entities resolved. Everything here is pure; nothing is evaluated, only
parsed.
"""

import ast
import html
import re
import textwrap
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from taco_stream.types import ExtractionMethod


class Extraction(NamedTuple):
    """The program found, and how; `program` is None exactly if the method is `NONE`.

    `cut_before` and `cut_after` count the characters of the answer, its reasoning apart, before the program and
    after it, fences included. Nothing between is left out, except between blocks that are joined.
    """

    program: str | None
    method: ExtractionMethod
    cut_before: int = 0
    cut_after: int = 0


class CutAway(NamedTuple):
    """The text before and after a program in a completion, and the characters of reasoning that were removed first."""

    before: str
    after: str
    reasoning: int


MAX_ENDS = 24
"""Ends tried for one block or one text, each of which costs a parse. Answers have fewer fences and paragraphs."""

MAX_PARSES = 500
"""Ends tried for all blocks of an answer: a model that is caught in a loop writes fences by the thousand."""

_NOTHING = Extraction(None, ExtractionMethod.NONE)


class _Span(NamedTuple):
    """A part of the answer from `start` to `end`, and the text there once quote marks and indentation are removed."""

    start: int
    end: int
    text: str


def extract_base(text: str, stop_strings: Sequence[str] = ()) -> Extraction:
    """The text before the earliest stop string, as TACO's `generation.py` cuts it; nothing if that is blank."""
    ends = [end for stop in stop_strings if stop and (end := text.find(stop)) >= 0]
    end = min(ends, default=len(text))
    program = text[:end]
    if not program.strip():
        return _NOTHING
    return Extraction(program, ExtractionMethod.WHOLE_TEXT, cut_after=len(text) - end)


def extract_chat(text: str, *, entry_point: str | None = None, join_blocks: bool = False) -> Extraction:
    """The program of a chat answer, found as the module describes, with newlines as `\\n`.

    `entry_point` names the function that the tests call. `join_blocks` takes all blocks of the kind found, in order,
    instead of the last, whatever they define.
    """
    answer = _without_reasoning(_with_plain_newlines(text))
    if answer is None:
        return _NOTHING
    blocks = list(_FencedBlocks(answer))
    closed = _programs([block for block in blocks if block.is_closed])
    if closed and join_blocks:
        return _found(answer, ExtractionMethod.FENCED_BLOCK, closed)
    if closed:
        return _found(answer, ExtractionMethod.FENCED_BLOCK, _defining(entry_point, closed)[-1:])
    if tagged := [span for span in _between_tags(answer) if _is_program(span.text)]:
        return _found(answer, ExtractionMethod.TAGGED_CODE, _defining(entry_point, tagged)[-1:])
    if (before := _before_bare_fence(answer)) is not None:
        return _found(answer, ExtractionMethod.BARE_CODE, [before])
    if unclosed := _programs([_trim(block) for block in blocks if not block.is_closed]):
        return _found(answer, ExtractionMethod.UNCLOSED_BLOCK, unclosed[-1:])
    bare = None if blocks else _bare_code(answer)
    return _NOTHING if bare is None else _found(answer, ExtractionMethod.BARE_CODE, [bare])


def cut_away(text: str, method: ExtractionMethod, cut_before: int, cut_after: int) -> CutAway:
    """The parts of a completion that its program was cut free of, from the counts of its `Extraction`."""
    if method is ExtractionMethod.NONE:
        return CutAway("", "", 0)
    whole = text if method is ExtractionMethod.WHOLE_TEXT else _with_plain_newlines(text)
    answer = whole if method is ExtractionMethod.WHOLE_TEXT else (_without_reasoning(whole) or "")
    return CutAway(answer[:cut_before], answer[max(0, len(answer) - cut_after) :], len(whole) - len(answer))


def _with_plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _found(answer: str, method: ExtractionMethod, spans: Sequence[_Span]) -> Extraction:
    program = _repair("\n\n".join(span.text for span in spans))
    return Extraction(program, method, cut_before=spans[0].start, cut_after=len(answer) - spans[-1].end)


def _defining(entry_point: str | None, spans: Sequence[_Span]) -> Sequence[_Span]:
    """Those that define the function that is called, or else all."""
    if not entry_point:
        return spans
    defines = re.compile(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(entry_point)}\b", re.MULTILINE)
    return [span for span in spans if defines.search(span.text)] or spans


# --- reasoning

_NAME = r"(?:seed:)?think(?:ing)?|reasoning|thoughts?|reflection"
_OPENING_TAG = re.compile(rf"[ \t]*(?:<(?:{_NAME})>|\[THINK\])", re.IGNORECASE)
_OPENING = re.compile(rf"^{_OPENING_TAG.pattern}", re.MULTILINE | re.IGNORECASE)
_CLOSING = re.compile(
    rf"^[ \t]*(?:</(?:{_NAME})>|\[/THINK\])|(?:</(?:{_NAME})>|\[/THINK\])[ \t]*$", re.MULTILINE | re.IGNORECASE
)
"""Tags count at the start of a line, closing ones also at its end: a program may well print one."""
_CLOSING_IN_A_LINE = re.compile(rf"(?<!['\"`])(?:</(?:{_NAME})>|\[/THINK\])(?!['\"])", re.IGNORECASE)
"""A closing tag with words on both sides, which counts only if there is no better one."""


def _without_reasoning(text: str) -> str | None:
    """The answer outside reasoning tags; None if reasoning does not close.

    A closing tag without an opening one ends reasoning that began in the prompt, as many templates have it.
    """
    # Many chat templates open the reasoning themselves, so an answer may begin inside of it.
    opening, closing = _OPENING.search(text), _CLOSING.search(text)
    if opening is None and closing is None:
        closing = _CLOSING_IN_A_LINE.search(text)
        # Without a block behind it or with one before it, the tag is more likely the text of a program.
        if closing and not ("```" in text[closing.end() :] and "```" not in text[: closing.start()]):
            closing = None
    if closing and (opening is None or closing.start() < opening.start()):
        text = text[closing.end() :]
        opening = _OPENING.search(text)
    kept, position, pattern = [], 0, _CLOSING
    while opening:
        kept.append(text[position : opening.start()])
        closing = pattern.search(text, opening.end())
        if closing is None and pattern is _CLOSING:
            pattern = _CLOSING_IN_A_LINE  # from here on there is no better one
            closing = pattern.search(text, opening.end())
        if closing is None:
            return None
        position = closing.end()
        # The part cut away began a line, so the rest does now.
        opening = _OPENING_TAG.match(text, position) or _OPENING.search(text, position)
    return "".join([*kept, text[position:]])


# --- fenced blocks

_MARGIN = r"(?P<margin>[ \t]*+(?:>[ \t]*+)*+(?:(?:[-*+]|\d++[.)])[ \t]++)?)"
"""Text that may precede a fence: indentation, quote marks, the mark of a list. Nothing in it is ever tried twice, or a
line of a hundred thousand blanks would take minutes."""

_FENCE = re.compile(rf"^{_MARGIN}(?P<fence>`{{3,}}|~{{3,}})(?P<info>[^\n]*)$", re.MULTILINE)
_ONE_LINE = re.compile(r"[ \t]*+(?P<code>[^`\n]*[^`\s])[ \t]*`{3,}[ \t]*")
"""The rest of a fence line of a block in one line."""

_GLUED_OPENING = re.compile(
    r"(?<=[^\s`])(?P<margin>)(?P<fence>`{3,})[ \t]*(?P<info>[A-Za-z][\w.+#-]*)[ \t]*$", re.MULTILINE
)
_GLUED_CLOSING = re.compile(r"(?<=[^\s`])`{3,}|(?<=[^\s~])~{3,}")
"""Fences behind words, as in "The code:```python", and behind code."""

_PYTHON = re.compile(r"(?:c?python|pypy|py)[-_ ]?(?:\d+(?:\.\d+)*)?|[\w-]+\.py")
_UNTAGGED = frozenset({"", "code", "plaintext", "txt", "text"})


class _Block(NamedTuple):
    tag: str
    span: _Span
    is_closed: bool

    @property
    def is_python(self) -> bool:
        return _PYTHON.fullmatch(self.tag) is not None


class _Close(NamedTuple):
    """A place where a block may end: its content's end, and where reading goes on."""

    end: int
    resume: int


class _FencedBlocks:
    """Reads the fenced blocks of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._fences = list(_FENCE.finditer(text))
        self._glued = list(_GLUED_CLOSING.finditer(text))
        self._parses = MAX_PARSES

    def __iter__(self) -> Iterator[_Block]:
        """The blocks in order; the last may be unclosed."""
        position = 0
        while opening := self._opening(position):
            info = opening["info"]
            if (one_line := _ONE_LINE.fullmatch(info)) and opening["fence"][0] == "`":
                position = opening.end()
                tag, code = _tag_and_rest(one_line["code"])
                tag, code = (tag, code) if code and _PYTHON.fullmatch(tag) else ("", one_line["code"])
                end = opening.start("info") + one_line.end("code")
                yield _Block(tag, _Span(end - len(code), end, code + "\n"), is_closed=True)
                continue
            tag, rest = _tag_and_rest(info.strip())
            has_code = _PYTHON.fullmatch(tag) is not None and _STATEMENT.match(rest) is not None
            start = min(opening.end() + 1, len(self._text)) - (len(rest) + 1 if has_code else 0)
            close = self._close(opening, start, tag)
            end = len(self._text) if close is None else close.end
            yield _Block(tag, self._span(opening, start, end), is_closed=close is not None)
            if close is None:
                return
            position = close.resume

    def _opening(self, position: int) -> re.Match[str] | None:
        """The next fence that opens a block: one that begins a line, or glued to words with a tag that is Python's."""
        first = bisect_left(self._fences, position, key=lambda fence: fence.start())
        at_start = self._fences[first] if first < len(self._fences) else None
        for glued in _GLUED_OPENING.finditer(self._text, position, at_start.start() if at_start else len(self._text)):
            if _PYTHON.fullmatch(glued["info"].lower()):
                return glued
        return at_start

    def _close(self, opening: re.Match[str], start: int, tag: str) -> _Close | None:
        """Where a block ends: where its content is Python, or else at the first fence that begins a line, or else any.

        Bare fences are tried first, then those with words behind, then glued ones. A fence with a tag of its own opens
        the next block, so reading goes on at that fence.
        """
        mark = opening["fence"]
        first = bisect_left(self._fences, opening.end(), key=lambda fence: fence.start())
        fences = [fence for fence in self._fences[first : first + MAX_ENDS] if fence["fence"].startswith(mark)]
        first = bisect_left(self._glued, max(start, opening.end()), key=lambda fence: fence.start())
        closes = [_Close(fence.start(), fence.end()) for fence in fences if not fence["info"].strip()]
        closes += [
            _Close(fence.start(), fence.start() if _ONE_WORD.fullmatch(info) else fence.end())
            for fence in fences
            if (info := fence["info"].strip())
        ]
        at_line_start = len(closes)
        closes += [
            _Close(fence.start(), fence.end()) for fence in self._glued[first : first + MAX_ENDS] if fence[0] == mark
        ]
        if tag in _UNTAGGED or _PYTHON.fullmatch(tag):
            for close in closes:
                self._parses -= 1
                if self._parses >= 0 and _is_python(self._span(opening, start, close.end).text):
                    return close
        return min(closes[:at_line_start] or closes, default=None)

    def _span(self, opening: re.Match[str], start: int, end: int) -> _Span:
        return _Span(start, end, _plain(self._text[start:end], opening["margin"]))


_STATEMENT = re.compile(r"(?:import|from|def|class)[ ]|print\(")
"""The beginning of code on the line of an opening fence; an assignment there is an attribute."""

_ONE_WORD = re.compile(r"[\w.+#-]*[\w+#]")
"""A tag, and not a sentence behind a closing fence."""

_TAG_GLUED_TO_CODE = re.compile(rf"(?:python3?|py)(?={_STATEMENT.pattern})", re.IGNORECASE)


def _tag_and_rest(info: str) -> tuple[str, str]:
    """The language of a fence's info string, and the rest of it.

    `Python`, `{.python .numberLines}`, `python 3.11` and `python title=a.py` are all tags of Python.
    """
    if (numbered := re.match(r"python[ ]\d[\d.]*", info, re.IGNORECASE)) or (
        numbered := _TAG_GLUED_TO_CODE.match(info)
    ):
        return numbered[0].lower(), info[numbered.end() :].lstrip()
    name = info.lstrip("{.")
    tag = re.split(r"[\s:,{}(]", name, maxsplit=1)[0]
    return tag.lower(), name[len(tag) :].lstrip()


def _plain(content: str, margin: str) -> str:
    """The content of a block without the margin that its lines share with its fence."""
    if quotes := margin.count(">"):
        margin = margin[margin.rindex(">") + 1 :]
        blank = " ?" if margin.startswith(" ") else ""
        content = re.sub(rf"^(?:[ \t]*>{blank}){{1,{quotes}}}", "", content, flags=re.MULTILINE)
        margin = margin.removeprefix(" ")
    first_line = content.lstrip("\n").partition("\n")[0]
    width = min(len(margin), len(first_line) - len(first_line.lstrip()))
    return re.sub(rf"^[ \t]{{1,{width}}}", "", content, flags=re.MULTILINE) if width else content


def _programs(blocks: Sequence[_Block]) -> list[_Span]:
    """The blocks that may be the program, in order, by the rules of the module."""
    filled = [block for block in blocks if block.span.text.strip()]
    python = [block.span for block in filled if block.is_python]
    untagged = [block.span for block in filled if block.tag in _UNTAGGED]
    return (
        [span for span in python if _is_program(span.text)]
        or [span for span in untagged if _is_program(span.text)]
        or python
    )


# --- code between tags

_TAGS = (
    re.compile(r"<(code|python)\b[^>\n]*>(?P<code>.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"\[(PYTHON|CODE)\](?P<code>.*?)(?:\[/\1\]|\Z)", re.DOTALL),
    re.compile(r"\A(?P<code>[^\[]*(?:\[(?!/?(?:PYTHON|CODE)\])[^\[]*)*)\[/(?:PYTHON|CODE)\]"),
)
"""The last is for a tag that was opened in the prompt."""

_TAG_LINE = re.compile(r"^\[/?(?:PYTHON|CODE)\]", re.MULTILINE)
"""A list as a statement: Python, but nobody writes it."""


def _between_tags(text: str) -> Iterator[_Span]:
    if _does_something(text) and not _TAG_LINE.search(text):
        return  # a program that has such a tag in one of its strings
    for tags in _TAGS:
        for found in tags.finditer(text):
            yield _Span(found.start("code"), found.end("code"), found["code"].lstrip("\n"))


# --- bare code


def _bare_code(text: str) -> _Span | None:
    """The text if it is code, else the longest run of whole paragraphs from the first line that begins code."""
    start = len(text) - len(text.lstrip("\n"))
    if _does_something(_repair(text[start:])):
        return _Span(start, len(text), text[start:])
    for line in text[start:].splitlines(keepends=True):
        if _is_code(line):
            return _without_trailing_prose(_Span(start, len(text), text[start:]))
        start += len(line)
    return None


def _without_trailing_prose(span: _Span) -> _Span | None:
    """The longest run of whole paragraphs that is a program; all of it if that would cut off code; None if none is."""
    # The longest first, so that a program is never cut short for prose that only looks like some.
    ends = [match.start() for match in re.finditer(r"(?<=\n)(?=[ \t]*\n)|\Z", span.text)]
    for end in ends[::-1][:MAX_ENDS]:
        text, rest = span.text[:end], span.text[end:].lstrip("\n")
        if _does_something(_repair(text)):
            first_line = rest.partition("\n")[0]
            return span if _is_code(first_line) else _Span(span.start, span.start + end, text)
    return None


def _trim(block: _Block) -> _Block:
    """A block that was never closed, without the prose that may follow its code."""
    return block._replace(span=_without_trailing_prose(block.span) or block.span)


def _before_bare_fence(text: str) -> _Span | None:
    """Code before a first fence without a tag: it was opened in the prompt, or it comes before sample output."""
    fence = _FENCE.search(text)
    return _bare_code(text[: fence.start()]) if fence and not fence["info"].strip() else None


# --- recognising Python

_PARSE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError)
"""The errors of `ast.parse` on text that is not a program, null bytes and absurd nesting included."""


def _parse(program: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(program)
        except _PARSE_ERRORS:
            return None


def _is_python(program: str) -> bool:
    return _parse(program) is not None


def _does_something(program: str) -> bool:
    """Whether the text is a program with an effect; a word of prose is an expression, but does nothing."""
    tree = _parse(program)
    if tree is None:
        return False
    for node in tree.body:
        # `YES` is a statement in Python, an expression; `Output: 3` is an annotation of the name `Output`.
        if isinstance(node, ast.AnnAssign):
            has_effect = node.value is not None
        else:
            has_effect = not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call)
        if has_effect:
            return True
    return False


def _is_program(text: str) -> bool:
    """Whether a block is a program, if perhaps one with a mistake in it, and not output or a session of a shell."""
    program = _repair(text)
    if _is_python(program):
        return _does_something(program)
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and not _SESSION.match(lines[0]) and any(map(_is_code, lines))


_SESSION = re.compile(r"[ \t]*(?:\$|>>>|%|pip3?|python3?)[ ]")
_KEYWORD_LINE = re.compile(
    r"[ \t]*(?:import[ ]\w|from[ ][\w.]+[ ]import\b|try:|(?:async[ ])?def[ ]\w+\(|class[ ]\w+.*:|@\w+|print\b[ ]*[(\"']"
    r"|(?:for|while|if|elif|with)[ ].*:[ ]*(?:\#.*)?$|\w+(?:[.]\w+)*\(.*\)[ ]*(?:\#.*)?$)"
)
_ASSIGNMENT = re.compile(r"[ \t]*\w+(?:,[ ]*\w+)*[ ]*(?:[-+*/]|//)?=(?!=)")


def _is_code(line: str) -> bool:
    """Whether a line can be nothing but code: `n = 5` and `a = [` are, `n = 5 gives 10` and `for example` are not."""
    if _KEYWORD_LINE.match(line):
        return True
    line = line.strip()
    return _ASSIGNMENT.match(line) is not None and (line[-1] in "([{\\" or _is_python(line))


# --- repairs

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"), None) | {0xA0: " ", 0x3000: " "}


def _repair(program: str) -> str:
    """The program, or the one repair of it that is Python; left as it is if none or more than one meaning fits."""
    if _is_python(program):
        return program
    # The mildest repair first, and only if one meaning fits: with tabs of four and of eight columns there may be two.
    visible = program.translate(_INVISIBLE)
    dedented = textwrap.dedent(visible).lstrip("\n")
    expanded = [dedented.expandtabs(4), dedented.expandtabs(8)]
    for candidates in ([visible], [dedented], expanded, [html.unescape(dedented)]):
        trees = {text: tree for text in candidates if (tree := _parse(text)) is not None}
        if len(trees) == 1 or len({_meaning(tree) for tree in trees.values()}) == 1:
            return next(iter(trees))
    return program


def _meaning(tree: ast.Module) -> str:
    try:
        return ast.dump(tree)
    except RecursionError:
        return str(id(tree))
