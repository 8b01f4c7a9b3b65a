"""From a problem to the prompt that asks for its program.

`base` is the prompt of TACO's own `generation.py`, byte for byte, for models that continue text. `chat` asks an
instruction-tuned model in a conversation, rendered by the tokenizer's own template in the generation worker. Anything
else is the path of a jinja2 template, which is rendered in jinja2's sandbox with these variables:

    question, starter_code, fn_name (empty if there is none), is_call_based, instruction (the words of `chat` about the
    form of the answer), examples (each with question, answer, starter_code, fn_name), problem_id, difficulty, skills,
    tags, source

A template is a text for a base model unless it begins with `{% set format = "chat" %}`: then it is the user's turn
in a conversation. `{% set stop = ["\\n```"] %}` names its stop strings; a text without them has those of `base`.

Worked examples (`--few-shot`) are JSON Lines of question, answer and, optionally, starter_code and fn_name. They come
before the problem in its own form: as answered questions for `base`, as earlier turns for `chat`, as `examples` for a
template. An example that asks the very question at hand is left out.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from taco_stream.errors import NOT_DECODED, UsageError
from taco_stream.readable_file import read_small_file
from taco_stream.settings import setting
from taco_stream.types import ChatMessage, ChatPrompt, Problem, Prompt, TextPrompt

if TYPE_CHECKING:
    from jinja2 import Environment, Template

BASE_STOP_STRINGS = ("\nQUESTION", "\n---", "\nANSWER", "<|endoftext|>")
"""Where TACO's `generation.py` cuts a base model's text."""


class Switch(StrEnum):
    """A setting that may be on, off, or left as it is."""

    ON = "on"
    OFF = "off"


class PromptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask: a group of `taco_stream.settings`."""

    prompt: Annotated[str, setting("base (TACO's own), chat, or a jinja2 template file.", changes_results=True)] = (
        "base"
    )
    system: Annotated[str | None, setting("System message of chat prompts.", changes_results=True)] = None
    thinking: Annotated[
        Switch | None, setting("on or off: reasoning, in chat templates that support it.", changes_results=True)
    ] = None
    few_shot: Annotated[
        str | None, setting("JSON Lines file of worked examples to put before each prompt.", changes_results=True)
    ] = None


class Prompting(NamedTuple):
    """How a run asks: the prompt of any problem, where its completions end, and whether they are chat answers."""

    build: Callable[[Problem], Prompt]
    stop_strings: tuple[str, ...]
    is_chat: bool


class Example(msgspec.Struct, frozen=True):
    """A problem with its answer, shown to the model before the one that is asked."""

    question: str
    answer: str
    starter_code: str = ""
    fn_name: str | None = None


def build_prompting(settings: PromptSettings) -> Prompting:
    """The prompting that the settings name.

    Raises `UsageError` if there is no such template, it has a mistake, or `system` and `thinking` are given for a
    prompt that is not a conversation.
    """
    system, thinking = settings.system, None if settings.thinking is None else settings.thinking is Switch.ON
    examples = _read_examples(Path(settings.few_shot)) if settings.few_shot else ()
    if settings.prompt == "base":
        prompting = Prompting(lambda problem: base_prompt(problem, examples), BASE_STOP_STRINGS, is_chat=False)
    elif settings.prompt == "chat":
        prompting = Prompting(lambda problem: chat_prompt(problem, system, thinking, examples), (), is_chat=True)
    else:
        prompting = _template_prompting(Path(settings.prompt), system, thinking, examples)
    if not prompting.is_chat and (system is not None or thinking is not None):
        raise UsageError(f"--system and --thinking need a conversation: --prompt chat, not {settings.prompt}")
    return prompting


def base_prompt(problem: Problem, examples: Sequence[Example] = ()) -> TextPrompt:
    """TACO's prompt for base models, equal to `generation.py`'s for the same row; answered examples come before it."""
    shown = [f"{_base_text(example)}{example.answer.rstrip()}\n" for example in _others(examples, problem)]
    return TextPrompt("".join([*shown, _base_text(problem)]))


def chat_prompt(
    problem: Problem, system: str | None = None, thinking: bool | None = None, examples: Sequence[Example] = ()
) -> ChatPrompt:
    """A conversation that ends with the problem and says in which form the program is wanted."""
    messages = []
    for example in _others(examples, problem):
        answer = f"```python\n{example.answer.strip()}\n```"
        messages += [ChatMessage("user", _chat_text(example)), ChatMessage("assistant", answer)]
    return _conversation([*messages, ChatMessage("user", _chat_text(problem))], system, thinking)


def shown_text(prompt: Prompt) -> str:
    """A prompt as a person reads it: a conversation with the role before each turn."""
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)


def instruction_for(problem: Problem | Example) -> str:
    """The instruction to a chat model about the form of its answer."""
    closing = "Give the complete program in one Python code block (```python … ```)."
    if problem.starter_code.strip():
        return (
            "Write a Python 3 solution that completes this starter code, with its names unchanged:\n"
            f"```python\n{problem.starter_code.rstrip()}\n```\n{closing}"
        )
    if problem.fn_name:
        return f"Write a Python 3 function named `{problem.fn_name}` that solves the problem. {closing}"
    return f"Write a Python 3 program that reads standard input and prints the answer to standard output. {closing}"


def _is_call_based(problem: Problem | Example) -> bool:
    """The original's condition: standard input only if there is neither a function name nor starter code."""
    return bool(problem.fn_name or problem.starter_code)


def _base_text(problem: Problem | Example) -> str:
    form = "\nUse Call-Based format" if _is_call_based(problem) else "\nUse Standard Input format"
    # Byte for byte the original's, which puts nothing between question and starter code.
    return f"\nQUESTION:\n{problem.question}{problem.starter_code}{form}\nANSWER:\n"


def _chat_text(problem: Problem | Example) -> str:
    return f"{problem.question.strip()}\n\n{instruction_for(problem)}"


def _conversation(turns: Sequence[ChatMessage], system: str | None, thinking: bool | None) -> ChatPrompt:
    opening = () if system is None else (ChatMessage("system", system),)
    return ChatPrompt((*opening, *turns), thinking)


def _others(examples: Sequence[Example], problem: Problem) -> list[Example]:
    # An example that asks the very question at hand would show the model its answer.
    return [example for example in examples if example.question.strip() != problem.question.strip()]


def _read_examples(path: Path) -> tuple[Example, ...]:
    try:
        lines = read_small_file(path).splitlines()
    except OSError as error:
        raise UsageError(f"the worked examples {path} cannot be read: {error.strerror}") from error
    examples = []
    for number, line in enumerate(lines, start=1):
        try:
            examples += [msgspec.json.decode(line, type=Example)] if line.strip() else []
        except NOT_DECODED as error:
            raise UsageError(f"{path}:{number} is not a worked example (question, answer): {error}") from error
    return tuple(examples)


# --- templates

_ANY_PROBLEM = Problem(problem_id="0", position=0, question="Question?", tests="{}")
"""Rendered once at the start, so that a mistake in a template is met before a model is loaded."""


def _template_prompting(
    path: Path, system: str | None, thinking: bool | None, examples: Sequence[Example]
) -> Prompting:
    template, constants = _read_template(path)
    is_chat = constants.get("format") == "chat"

    def build(problem: Problem) -> Prompt:
        text = _render(template, path, problem, examples)
        return _conversation([ChatMessage("user", text)], system, thinking) if is_chat else TextPrompt(text)

    build(_ANY_PROBLEM)
    stop = constants.get("stop", () if is_chat else BASE_STOP_STRINGS)
    if not isinstance(stop, list | tuple) or constants.get("format", "text") not in ("chat", "text"):
        raise UsageError(f"{path} may set format to 'text' or 'chat' and stop to a list of strings")
    return Prompting(build, tuple(str(text) for text in stop), is_chat)


def _read_template(path: Path) -> "tuple[Template, dict[str, object]]":
    """The template of a file, and the constants that it sets at its top level."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        source = read_small_file(path).decode("utf-8")
        return environment.from_string(source), _read_constants(environment, source)
    except FileNotFoundError as error:
        raise UsageError(
            f"--prompt cannot be {str(path)!r}: it is base, chat, or a template file that exists"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the template {path} cannot be read: {error}") from error
    except jinja2.TemplateSyntaxError as error:
        raise UsageError(f"{path}:{error.lineno} is not jinja2: {error.message}") from error


def _read_constants(environment: "Environment", source: str) -> dict[str, object]:
    from jinja2 import nodes

    constants: dict[str, object] = {}
    for node in environment.parse(source).body:
        match node:
            case nodes.Assign(target=nodes.Name(name=name), node=nodes.Expr() as value):
                try:
                    constants[name] = value.as_const()
                except nodes.Impossible:
                    continue
    return constants


def _render(template: "Template", path: Path, problem: Problem, examples: Sequence[Example]) -> str:
    import jinja2

    try:
        return template.render(
            question=problem.question,
            starter_code=problem.starter_code,
            fn_name=problem.fn_name or "",
            is_call_based=_is_call_based(problem),
            instruction=instruction_for(problem),
            examples=_others(examples, problem),
            problem_id=problem.problem_id,
            difficulty=problem.difficulty,
            skills=problem.skills,
            tags=problem.tags,
            source=problem.source,
        )
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UsageError(f"the template {path} cannot be rendered for problem {problem.problem_id}: {error}") from error
