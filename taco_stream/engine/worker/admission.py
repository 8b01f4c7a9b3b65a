"""Which prompts a model can take: those of its own tokens, for which its context has room.

A prompt is never cut. One that leaves fewer new tokens than were asked for gets those that are left, one that leaves
none is refused; either is noted once for its problem, as a `PromptTooLong`.
"""

from collections.abc import Callable
from typing import NamedTuple

from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.rendering import prompt_tokens
from taco_stream.errors import ModelError
from taco_stream.events import EngineEvent, PromptTooLong
from taco_stream.types import Request

EventSink = Callable[[EngineEvent], None]
"""Takes something that belongs into the run's events."""


class AdmittedPrompt(NamedTuple):
    """A prompt's tokens, and how many may follow: what was asked for, or the room that the context leaves.

    `refusal` is a sentence if nothing can be generated.
    """

    tokens: tuple[int, ...]
    limit: int
    refusal: str | None = None


class Admission:
    """Tokenises the prompts of one context of `context_length` tokens."""

    def __init__(self, checkpoint: Checkpoint, context_length: int, emit: EventSink) -> None:
        self._tokenizer = checkpoint.tokenizer
        embedding = checkpoint.model.get_input_embeddings()
        text = checkpoint.model.config.get_text_config(decoder=True)
        self._vocabulary: int = getattr(embedding, "num_embeddings", None) or text.vocab_size
        self._context_length = context_length
        self._emit = emit
        self._noted: set[str] = set()

    def admit(self, request: Request) -> AdmittedPrompt:
        """The request's prompt, or why nothing can be generated from it."""
        try:
            tokens = prompt_tokens(self._tokenizer, request.prompt)
        except ModelError as error:
            return AdmittedPrompt((), 0, str(error))
        if not tokens:
            # There is no token to compute the first logits from, and the one that `generate` begins with is no prompt.
            return AdmittedPrompt((), 0, "the prompt is empty")
        if (highest := max(tokens)) >= self._vocabulary:
            # Tokens may have been added to the tokenizer and not to the model's embedding. Computing with one would end
            # the process.
            text = self._tokenizer.convert_ids_to_tokens(highest)
            reason = f"the prompt has the token {highest} ({text!r}), but the model has only {self._vocabulary} tokens"
            return AdmittedPrompt(tokens, 0, reason)
        wanted = request.sampling.max_new_tokens
        if wanted <= 0:
            return AdmittedPrompt(tokens, 0, f"no token is to be generated: max_new_tokens is {wanted}")
        limit = max(0, min(wanted, self._context_length - len(tokens)))
        if limit < wanted:
            self._note_once(request, len(tokens), limit)
        refusal = f"the prompt has {len(tokens)} tokens, which leaves no room in a context of {self._context_length}"
        return AdmittedPrompt(tokens, limit, None if limit else refusal)

    def _note_once(self, request: Request, prompt_tokens: int, limit: int) -> None:
        # A problem's samples come in several requests, all with the same prompt.
        if request.problem_id in self._noted:
            return
        self._noted.add(request.problem_id)
        wanted = request.sampling.max_new_tokens
        self._emit(
            PromptTooLong(
                problem_id=request.problem_id,
                message=f"the prompt has {prompt_tokens} tokens, which leaves {limit} of the {wanted} new tokens asked "
                f"for in a context of {self._context_length}",
                prompt_tokens=prompt_tokens,
                context_length=self._context_length,
                new_tokens_wanted=wanted,
                new_tokens_left=limit,
            )
        )
