"""Which program is found in a completion, case by case."""

import ast
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.extraction import extract_base, extract_chat
from taco_stream.prompting import BASE_STOP_STRINGS
from taco_stream.types import ExtractionMethod

FENCED, UNCLOSED, BARE, WHOLE, NONE = (
    ExtractionMethod.FENCED_BLOCK,
    ExtractionMethod.UNCLOSED_BLOCK,
    ExtractionMethod.BARE_CODE,
    ExtractionMethod.WHOLE_TEXT,
    ExtractionMethod.NONE,
)

BASE_CASES = {
    "no stop string keeps everything": ("print(1)\n", "print(1)\n"),
    "the text before a stop string": ("print(1)\nQUESTION:\nnext", "print(1)"),
    "the earliest of several": ("a = 1\n---\nb\nANSWER", "a = 1"),
    "a stop string needs its newline": ("print('QUESTION --- ANSWER')", "print('QUESTION --- ANSWER')"),
    "end of text": ("print(1)<|endoftext|>print(2)", "print(1)"),
    "windows newlines stay": ("a = 1\r\nprint(a)\r\n", "a = 1\r\nprint(a)\r\n"),
    "blank is no program": (" \n\n", None),
    "blank before a stop string is no program": ("\n\nQUESTION", None),
    "empty is no program": ("", None),
}


@pytest.mark.parametrize(("text", "program"), BASE_CASES.values(), ids=BASE_CASES)
def test_base_text_is_cut_as_the_original_cuts_it(text: str, program: str | None) -> None:
    found = extract_base(text, BASE_STOP_STRINGS)
    assert (found.program, found.method) == (program, NONE if program is None else WHOLE)
    assert found.cut_after == (0 if program is None else len(text) - len(program))


def test_a_reference_solution_is_kept_whole() -> None:
    solution = '"""\n---\n"""\nprint(1)'
    assert extract_base(solution).program == solution


CHAT_CASES: dict[str, tuple[str, str | None, ExtractionMethod]] = {
    # fenced blocks
    "one tagged block": ("Sure:\n```python\nprint(1)\n```\nDone.", "print(1)\n", FENCED),
    "the last of several": ("```python\na = 1\n```\nBetter:\n```python\na = 2\n```", "a = 2\n", FENCED),
    "python is preferred to an untagged block after it": (
        "```python\nprint(1)\n```\nIt prints:\n```\n1\n```",
        "print(1)\n",
        FENCED,
    ),
    "an untagged block": ("```\nprint(1)\n```", "print(1)\n", FENCED),
    "an untagged block of output after one of code": ("```\nprint(1)\n```\nOutput:\n```\nok 1\n```", "print(1)\n", FENCED),
    "an untagged block with a mistake in it": ("```\nprint(1\n```", "print(1\n", FENCED),
    "a tag in capitals": ("```Python\nprint(1)\n```", "print(1)\n", FENCED),
    "py and python3": ("```py\na = 1\n```\n```python3\nb = 1\n```", "b = 1\n", FENCED),
    "python 3 in two words": ("```python 3\na = 1\n```", "a = 1\n", FENCED),
    "attributes after the tag": ("```python title='a.py'\na = 1\n```", "a = 1\n", FENCED),
    "pandoc's attributes": ("```{.python .numberLines}\na = 1\n```", "a = 1\n", FENCED),
    "tildes": ("~~~python\na = 1\n~~~", "a = 1\n", FENCED),
    "a longer fence holds a shorter one": ('````python\ns = """\n```\n"""\n````', 's = """\n```\n"""\n', FENCED),
    "a block in a list is outdented": (
        "1. So:\n   ```python\n   if 1:\n       a = 1\n   ```",
        "if 1:\n    a = 1\n",
        FENCED,
    ),
    "another language is no program": ("```cpp\nint main() {}\n```", None, NONE),
    "another language beside python": ("```python\na = 1\n```\n```java\nclass A {}\n```", "a = 1\n", FENCED),
    "a shell block is not python": ("```python\na = 1\n```\nRun:\n```bash\npython a.py\n```", "a = 1\n", FENCED),
    "an empty block does not count": ("```python\na = 1\n```\n```python\n```", "a = 1\n", FENCED),
    "a complete block before one that is cut off": ("```python\na = 1\n```\n```python\nb = (", "a = 1\n", FENCED),
    "windows newlines": ("```python\r\na = 1\r\nb = 2\r\n```\r\n", "a = 1\nb = 2\n", FENCED),
    "old mac newlines": ("```python\ra = 1\r```", "a = 1\n", FENCED),
    "a syntax error in a tagged block is judged, not skipped": ("```python\nprint(1\n```", "print(1\n", FENCED),
    # one fence only
    "a block that was never closed but is whole": ("So:\n```python\na = 1\n", "a = 1\n", UNCLOSED),
    "a block cut off inside a statement": ("So:\n```python\na = (1,\n", "a = (1,\n", UNCLOSED),
    "a block opened in the prompt": ("a = 1\n```\nThat is all.", "a = 1\n", BARE),
    # bare code
    "bare code": ("import sys\nprint(1)\n", "import sys\nprint(1)\n", BARE),
    "a class": ("class Solution:\n    def f(self):\n        return 1\n", "class Solution:\n    def f(self):\n        return 1\n", BARE),
    "prose before bare code": ("Here you are:\n\ndef f():\n    return 1\n", "def f():\n    return 1\n", BARE),
    "prose after bare code": ("def f():\n    return 1\n\nThis returns one.", "def f():\n    return 1\n", BARE),
    "bare code that begins with an assignment": ("So:\n\nn = int(input())\nprint(n)\n", "n = int(input())\nprint(n)\n", BARE),
    "prose with numbers is no program": ("n = 5 gives 10\n\nfor example, and so on:\n", None, NONE),
    "prose is no program": ("I cannot solve this problem.", None, NONE),
    "a word is no program": ("Yes", None, NONE),
    "a number is no program": ("42", None, NONE),
    "nothing is no program": ("", None, NONE),
    "blank is no program": (" \n\t\n", None, NONE),
    # reasoning
    "reasoning before the answer": ("<think>\nx = 1?\n</think>\n```python\na = 1\n```", "a = 1\n", FENCED),
    "code inside reasoning is not the answer": ("<think>\n```python\nb = 1\n```\n</think>\nI do not know.", None, NONE),
    "reasoning that never closes": ("<think>\n```python\nb = 1\n```\n", None, NONE),
    "reasoning that never closes after an answer": ("```python\na = 1\n```\n<think>\nwait", None, NONE),
    "reasoning that began in the prompt": ("```python\nb = 1\n```\nso\n</think>\n\n```python\na = 1\n```", "a = 1\n", FENCED),
    "a closing tag at the end of a line": ("so it is one.</think>\na = 1\n", "a = 1\n", BARE),
    "two rounds of reasoning": ("<think>\nb\n</think>\nHm.\n<think>\nc\n</think>\n```python\na = 1\n```", "a = 1\n", FENCED),
    "other names of reasoning": ("<reasoning>b = 1</reasoning>\na = 1\n", "a = 1\n", BARE),
    "square brackets": ("[THINK]b = 1[/THINK]\na = 1\n", "a = 1\n", BARE),
    "a program that prints a tag": ("```python\nprint('<think>')\n```", "print('<think>')\n", FENCED),
    "an answer on the line that closes its reasoning": ("<think>hm</think>So:\n```python\na = 1\n```", "a = 1\n", FENCED),
    "bare code on the line that closes its reasoning": ("<think>hm</think>a = 1\n", "a = 1\n", BARE),
    "a fence on the line that closes its reasoning": ("<think>\nhm\nso</think> ```python\na = 1\n```", "a = 1\n", FENCED),
    "an answer on the line that closes what the prompt began": ("hm</think>So:\n```python\na = 1\n```", "a = 1\n", FENCED),
    "a program with a tag among its text": ("a = 'x</think>y'\n", "a = 'x</think>y'\n", BARE),
    "a block with a tag among its text": ("```python\na = 'x</think>y'\n```", "a = 'x</think>y'\n", FENCED),
    # repairs
    "a zero-width space": ("```python\na = 1\u200b\n```", "a = 1\n", FENCED),
    "a byte order mark": ("\ufeffprint(1)\n", "print(1)\n", BARE),
    "a zero-width joiner inside a string stays": ("```python\na = '\u200d'\n```", "a = '\u200d'\n", FENCED),
    "no-break spaces as indentation": ("```python\nif 1:\n\u00a0\u00a0a = 1\n```", "if 1:\n  a = 1\n", FENCED),
    "common indentation": ("```python\n    a = 1\n    b = 2\n```", "a = 1\nb = 2\n", FENCED),
    "tabs and spaces with one meaning": ("```python\nif 1:\n        a = 1\n\tb = 2\n```", "if 1:\n        a = 1\n        b = 2\n", FENCED),
    "tabs that could mean two things stay": (
        "```python\nif 1:\n    if 2:\n        a = 1\n\tb = 2\n```",
        "if 1:\n    if 2:\n        a = 1\n\tb = 2\n",
        FENCED,
    ),
    "uneven indentation stays": ("```python\nif 1:\n    a = 1\n  b = 2\n```", "if 1:\n    a = 1\n  b = 2\n", FENCED),
}  # fmt: skip


@pytest.mark.parametrize(("text", "program", "method"), CHAT_CASES.values(), ids=CHAT_CASES)
def test_chat_answer_yields_its_program(text: str, program: str | None, method: ExtractionMethod) -> None:
    assert extract_chat(text)[:2] == (program, method)


ANSWERS = tomllib.loads(Path(__file__).with_name("chat_answers.toml").read_text(encoding="utf-8"))["answer"]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"])
def test_the_program_is_found_whole_however_it_is_fenced(answer: dict[str, str]) -> None:
    found = extract_chat(answer["text"])
    assert found[:2] == (answer["program"], answer.get("method", FENCED))


CUT_CASES = {
    "prose around a block": ("So:\n```python\nprint(1)\n```\nDone.\n", 14, 10),
    "prose around bare code": ("So:\n\nn = 1\n\nDone.\n", 5, 7),
    "reasoning does not count": ("<think>\nhm\n</think>```python\na = 1\n```", 10, 3),
    "nothing": ("print(1)\n", 0, 0),
    "one line": ("```python print(1) ```\n!", 10, 6),
}


@pytest.mark.parametrize(("text", "before", "after"), CUT_CASES.values(), ids=CUT_CASES)
def test_what_is_cut_away_is_counted(text: str, before: int, after: int) -> None:
    found = extract_chat(text)
    assert (found.cut_before, found.cut_after) == (before, after)


def test_joined_blocks_count_what_is_around_them_all() -> None:
    found = extract_chat("a\n```python\nb = 1\n```\nc\n```python\nd = 1\n```\ne", join_blocks=True)
    assert (found.program, found.cut_before, found.cut_after) == ("b = 1\n\n\nd = 1\n", 12, 5)


PROGRAMS = (
    "print(1)\n",
    "import sys\n\n\ndef main():\n    print(sys.stdin.read())\n\n\nmain()\n",
    "n = int(input())\nif n > 1:\n\tprint(n)\n",
    'def f(x):\n    """Doubles.\n\n    ```python\n    f(1)\n    ```\n    """\n    return 2 * x\n',
    "text = '''\n```\n> quoted\n1. ~~~\n'''\nprint(text)  # ```\n",
    "class Solution:\n    def f(self):\n        return [PYTHON, x < 1]\n",
    "print('<code>')\nprint('&lt;')\n",
)
PROSE = (
    "",
    "Here is the program.\n",
    "## Plan\n\n* Read n.\n* Print it: `print(n)`.\n\n",
    "The answer, for example:\n",
)
SAMPLES = (
    "",
    "Input:\n```\n3\n1 2 3\n```\n",
    "It prints:\n```text\nYES\n```\n",
    "```bash\npython main.py\n```\n",
    "```\nOutput: 3\n```\n",
)
TAGS = (
    "python",
    "Python",
    "py",
    "python3",
    "python3.11",
    "python-3",
    "py3",
    " python",
    "{.python}",
    "python title='a'",
)


@given(
    st.sampled_from(PROGRAMS),
    st.tuples(*[st.sampled_from(each) for each in (PROSE, SAMPLES, PROSE)]),
    st.sampled_from(TAGS),
    st.tuples(
        st.sampled_from(["", "> ", "   ", "> > "]),
        st.sampled_from(["```", "````", "~~~"]),
        st.sampled_from(["\n", " \n", " That is all.\n", ""]),
    ),
)
def test_a_program_in_any_fence_comes_back_unchanged(
    program: str, around: tuple[str, str, str], tag: str, fencing: tuple[str, str, str]
) -> None:
    (before, samples, behind), (margin, fence, closing) = around, fencing
    block = f"{fence}{tag}\n{program}{fence}{closing}"
    marked = "".join(margin + line for line in block.splitlines(keepends=True))
    answer = before + marked + (f"\n{samples}{behind}" if closing else "")
    found = extract_chat(answer)
    assert (found.program, found.method) == (program, FENCED)
    if not margin:
        assert answer[found.cut_before : len(answer) - found.cut_after] == program


ENDLESS = {
    "unclosed blocks": "```python\nfoo bar\n" * 5_000 + "```\nbar foo\n" * 5_000,
    "bare fences": "```\n" * 20_000,
    "blocks": "```python\nprint(1)\n```\n" * 5_000,
    "glued fences": "x```\n" * 20_000,
    "one fence": "`" * 100_000,
    "blanks": " " * 100_000 + "x",
    "blanks behind a fence": "```" + " " * 100_000 + "x`",
    "quote marks": "> " * 50_000,
    "marks of a list": "1. " * 30_000,
    "tags": "[PYTHON]" * 15_000 + "<code>" * 10_000,
    "paragraphs": "x = 1\n\nfoo bar baz\n\n" * 5_000,
    "a call": "f(" + ") " * 50_000 + "x",
    "names": "a," * 50_000,
    "rounds of reasoning": "<think>a</think>b\n" * 20_000,
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_of_a_model_caught_in_a_loop_is_read_in_bounded_time(text: str) -> None:
    """At most a second or two each; with a square in it, minutes."""
    started_at = time.process_time()
    extract_chat(text)
    assert time.process_time() - started_at < 20


EXAMPLE_OF_USE = (
    "```python\nclass Solution:\n    def add(self): ...\n```\nTry:\n```python\nprint(Solution().add())\n```"
)


def test_a_block_that_defines_the_entry_point_is_preferred_to_an_example_of_its_use() -> None:
    assert extract_chat(EXAMPLE_OF_USE, entry_point="add").program == "class Solution:\n    def add(self): ...\n"


def test_the_last_block_stands_where_none_defines_the_entry_point() -> None:
    assert extract_chat(EXAMPLE_OF_USE, entry_point="subtract").program == "print(Solution().add())\n"


def test_blocks_are_joined_on_request() -> None:
    text = "```python\na = 1\n```\nthen\n```cpp\nint b;\n```\nand\n```python\nb = 2\n```"
    assert extract_chat(text, join_blocks=True).program == "a = 1\n\n\nb = 2\n"


def test_joined_blocks_need_not_define_the_function_that_is_called() -> None:
    text = "```python\nlimit = 1\n```\nthen\n```python\ndef f():\n    return limit\n```\n"
    joined = "limit = 1\n\n\ndef f():\n    return limit\n"
    assert extract_chat(text, entry_point="f", join_blocks=True).program == joined


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "1+" * 100_000 + "1", "not " * 50_000 + "1", "a = '\0'"])
def test_text_that_overwhelms_the_parser_is_survived(text: str) -> None:
    assert extract_chat(text).method is NONE


@given(st.text(alphabet=st.sampled_from(list("`~<>/think \n\t\rpyo=1:(")), max_size=120))
def test_any_text_yields_a_program_or_none(text: str) -> None:
    program, method, before, after = extract_chat(text)
    assert (program is None) == (method is NONE)
    assert 0 <= before <= len(text) - after <= len(text)
    if method is BARE:
        ast.parse(program or "")
