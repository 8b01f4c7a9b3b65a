"""A prompt as a model reads it: the text that its tokenizer makes of it, without loading the model."""

from typing import Any, NamedTuple

from jinja2 import TemplateError

from taco_stream.engine.worker.model_folder import model_place
from taco_stream.errors import ModelError
from taco_stream.types import ChatPrompt, Prompt


class RenderedPrompt(NamedTuple):
    """The text, and how many tokens it is."""

    text: str
    tokens: int


def render_prompt(model: str, prompt: Prompt) -> RenderedPrompt:
    """The prompt of a model folder or hub id. Raises `ModelError` if its tokenizer cannot be loaded or used."""
    from transformers import AutoTokenizer

    place = model_place(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the tokenizer of {model} cannot be loaded: {first_line}") from error
    return RenderedPrompt(render_text(tokenizer, prompt), len(prompt_tokens(tokenizer, prompt)))


def render_text(tokenizer: Any, prompt: Prompt) -> str:
    """A text as it is, a conversation through the tokenizer's chat template.

    Raises `ModelError` if there is no template, or if it refuses the conversation (some support no system message).
    """
    if not isinstance(prompt, ChatPrompt):
        return prompt.text
    if not tokenizer.chat_template:
        raise ModelError("the tokenizer has no chat template: use a base prompt")
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    # The name that Qwen's templates gave it and others took over; a template that has no such variable ignores it.
    options = {} if prompt.thinking is None else {"enable_thinking": prompt.thinking}
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    except (TemplateError, TypeError, ValueError, LookupError) as error:
        raise ModelError(f"the tokenizer's chat template refuses the conversation: {error}") from error
    return text


def prompt_tokens(tokenizer: Any, prompt: Prompt) -> tuple[int, ...]:
    """Tokenises a prompt: a text with the special tokens that the tokenizer adds, a conversation with its template's.

    The latter is what transformers' `apply_chat_template` does. A begin-of-sequence token is in it at most once.
    """
    is_chat = isinstance(prompt, ChatPrompt)
    tokens = tokenizer(render_text(tokenizer, prompt), add_special_tokens=not is_chat)["input_ids"]
    begin = tokenizer.bos_token_id
    while is_chat and begin is not None and tokens[:2] == [begin, begin]:
        tokens = tokens[1:]
    return tuple(tokens)
