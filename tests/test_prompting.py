"""The prompts are the original's, and chat prompts say what is wanted."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taco_stream.errors import UsageError
from taco_stream.prompting import BASE_STOP_STRINGS, PromptSettings, Switch, base_prompt, build_prompting, chat_prompt
from taco_stream.types import ChatMessage, ChatPrompt, Problem, TextPrompt


def problem(question: str = "Add.", starter_code: str = "", fn_name: str | None = None) -> Problem:
    tests = json.dumps({"inputs": ["1"], "outputs": ["1"], "fn_name": fn_name})
    return Problem(
        problem_id="0", position=0, question=question, tests=tests, starter_code=starter_code, fn_name=fn_name
    )


@pytest.mark.parametrize(
    ("asked", "prompt"),
    [
        (problem(), "\nQUESTION:\nAdd.\nUse Standard Input format\nANSWER:\n"),
        (problem(fn_name="add"), "\nQUESTION:\nAdd.\nUse Call-Based format\nANSWER:\n"),
        (problem(starter_code="def add():\n"), "\nQUESTION:\nAdd.def add():\n\nUse Call-Based format\nANSWER:\n"),
        (problem("Add.\n", "x", "add"), "\nQUESTION:\nAdd.\nx\nUse Call-Based format\nANSWER:\n"),
    ],
    ids=["standard input", "function name only", "starter code only", "both"],
)
def test_base_prompt_is_the_originals_byte_for_byte(asked: Problem, prompt: str) -> None:
    assert base_prompt(asked) == TextPrompt(prompt)


def test_base_prompting_stops_where_the_original_cuts() -> None:
    prompting = build_prompting(PromptSettings(prompt="base"))
    assert prompting.stop_strings == BASE_STOP_STRINGS == ("\nQUESTION", "\n---", "\nANSWER", "<|endoftext|>")
    assert not prompting.is_chat


def test_chat_prompt_holds_question_and_starter_code() -> None:
    (message,) = chat_prompt(problem(starter_code="class Solution:\n    def add(self):")).messages
    assert message.role == "user"
    assert "Add." in message.content
    assert "class Solution:\n    def add(self):" in message.content


def test_chat_prompt_names_the_function_wanted() -> None:
    assert "`add`" in chat_prompt(problem(fn_name="add")).messages[-1].content


def test_chat_prompt_of_a_standard_input_problem_asks_for_standard_input() -> None:
    assert "standard input" in chat_prompt(problem()).messages[-1].content


def test_chat_prompting_passes_system_message_and_thinking_on() -> None:
    prompting = build_prompting(PromptSettings(prompt="chat", system="Be brief.", thinking=Switch.OFF))
    prompt = prompting.build(problem())
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0] == ChatMessage("system", "Be brief.")
    assert prompt.thinking is False
    assert prompting.is_chat


def test_unknown_prompting_is_refused() -> None:
    with pytest.raises(UsageError, match="--prompt cannot be 'bsae'"):
        build_prompting(PromptSettings(prompt="bsae"))


EXAMPLES = (
    '{"question": "Double.", "answer": "print(2 * int(input()))"}\n'
    "\n"
    '{"question": "Add.", "answer": "the answer to the problem itself"}\n'
    '{"question": "Halve.", "answer": "def halve(n):\\n    return n / 2\\n", "fn_name": "halve"}\n'
)


@pytest.fixture
def few_shot(tmp_path: Path) -> Path:
    path = tmp_path / "examples.jsonl"
    path.write_text(EXAMPLES, encoding="utf-8")
    return path


@pytest.fixture
def template(tmp_path: Path) -> Callable[[str], str]:
    """Writes a template; returns what `--prompt` is given."""

    def write(source: str) -> str:
        path = tmp_path / "prompt.jinja"
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


def test_base_examples_are_answered_questions_without_the_one_asked(few_shot: Path) -> None:
    prompt = build_prompting(PromptSettings(prompt="base", few_shot=str(few_shot))).build(problem())
    assert prompt == TextPrompt(
        "\nQUESTION:\nDouble.\nUse Standard Input format\nANSWER:\nprint(2 * int(input()))\n"
        "\nQUESTION:\nHalve.\nUse Call-Based format\nANSWER:\ndef halve(n):\n    return n / 2\n"
        "\nQUESTION:\nAdd.\nUse Standard Input format\nANSWER:\n"
    )


def test_chat_examples_are_earlier_turns(few_shot: Path) -> None:
    prompt = build_prompting(PromptSettings(prompt="chat", system="Be brief.", few_shot=str(few_shot))).build(problem())
    assert isinstance(prompt, ChatPrompt)
    assert [message.role for message in prompt.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert prompt.messages[2].content == "```python\nprint(2 * int(input()))\n```"


@pytest.mark.parametrize("line", ['{"question": "a"}', "x"])
def test_a_broken_example_is_named(few_shot: Path, line: str) -> None:
    few_shot.write_text(f'{{"question": "a", "answer": "b"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"examples\.jsonl:2 is not a worked example"):
        build_prompting(PromptSettings(prompt="base", few_shot=str(few_shot)))


def test_missing_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        build_prompting(PromptSettings(prompt="base", few_shot=str(tmp_path / "nowhere.jsonl")))


def test_template_is_rendered_with_the_problem(template: Callable[[str], str]) -> None:
    kind = template("{{ problem_id }}|{{ question }}|{{ fn_name }}|{{ is_call_based }}|{{ skills | join(',') }}\n")
    prompting = build_prompting(PromptSettings(prompt=kind))
    assert prompting.build(problem(fn_name="add")) == TextPrompt("0|Add.|add|True|\n")
    assert prompting == (prompting.build, BASE_STOP_STRINGS, False)


def test_a_template_knows_every_variable_that_is_documented(tmp_path: Path) -> None:
    document = Path(__file__).parent.parent / "docs" / "design" / "datasets.md"
    table = document.read_text(encoding="utf-8").partition("| variable | is |")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| `")))
    assert "instruction" in names
    path = tmp_path / "all.j2"
    path.write_text("".join(f"{{{{ {name} }}}}" for name in names))
    assert isinstance(build_prompting(PromptSettings(prompt=str(path))).build(problem()), TextPrompt)


def test_template_names_its_form_and_stop_strings(template: Callable[[str], str]) -> None:
    kind = template("{% set format = 'chat' -%}\n{% set stop = ['END', '\\n'] -%}\n{{ question }} {{ instruction }}")
    prompting = build_prompting(PromptSettings(prompt=kind, system="Be brief.", thinking=Switch.ON))
    prompt = prompting.build(problem())
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[1].content.startswith("Add. Write a Python 3 program")
    assert (prompt.messages[0].role, prompt.thinking) == ("system", True)
    assert (prompting.stop_strings, prompting.is_chat) == (("END", "\n"), True)


def test_template_places_the_examples(template: Callable[[str], str], few_shot: Path) -> None:
    kind = template("{% for example in examples %}{{ example.question }}={{ example.answer }};{% endfor %}")
    prompt = build_prompting(PromptSettings(prompt=kind, few_shot=str(few_shot))).build(problem())
    assert prompt == TextPrompt("Double.=print(2 * int(input()));Halve.=def halve(n):\n    return n / 2\n;")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ qestion }}", "'qestion' is undefined"),
        ("\n{% if %}", r"prompt\.jinja:2 is not jinja2"),
        ("{{ ''.__class__.__mro__ }}", "cannot be rendered"),
        ("{{ 1 / 0 }}", "cannot be rendered"),
        ("{% set format = 'poem' %}", "may set format to"),
        ("{% set stop = 'END' %}", "may set format to"),
    ],
)
def test_a_template_with_a_mistake_is_refused_before_the_run(
    template: Callable[[str], str], source: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        build_prompting(PromptSettings(prompt=template(source)))


@pytest.mark.parametrize("given", [{"system": "Be brief."}, {"thinking": Switch.ON}])
def test_a_system_message_without_a_conversation_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="need a conversation"):
        build_prompting(PromptSettings(prompt="base", **given))


def test_base_and_chat_do_not_load_the_template_engine() -> None:
    code = "import sys, taco_stream.prompting as p; p.build_prompting(p.PromptSettings(prompt='chat')); print('jinja2' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False"
