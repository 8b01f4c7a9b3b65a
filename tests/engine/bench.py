"""An engine core with nothing around it, requests for it, and what transformers generates for the same."""

import random
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.load import start
from taco_stream.events import EngineEvent
from taco_stream.types import Completion, Request, SampleKey, SamplingParameters, TextPrompt

GREEDY = SamplingParameters(max_new_tokens=40, temperature=0)
BRIEF = SamplingParameters(max_new_tokens=20, temperature=0)
"""For what is tried with every architecture: more tokens repeat the same step."""

SAMPLED = SamplingParameters(max_new_tokens=24, temperature=0.9, top_p=0.95)


def prompts(count: int = 8) -> list[str]:
    """Texts of 2 to 120 bytes, the same every time."""
    letters = random.Random(5)
    lengths = [2, 90, 9, 33, 120, 17, 60, 4]
    return ["".join(letters.choice("abcdefgh =int\n") for _ in range(lengths[number % 8])) for number in range(count)]


def requests(sampling: SamplingParameters, samples: int = 3, count: int = 8) -> list[Request]:
    return [
        Request(
            problem_id=f"p{number}",
            prompt=TextPrompt(text),
            sample_indices=tuple(range(samples)),
            sampling=sampling,
            seed=3,
        )
        for number, text in enumerate(prompts(count))
    ]


class Bench:
    """A core and what it noted."""

    def __init__(self, folder: Path, *, as_on_cuda: bool | None = None, **settings: Any) -> None:
        self.events: list[EngineEvent] = []
        load = Load(**({"model": str(folder), "device": "cpu", "dtype": "float32", "batch_size": 5} | settings))
        self.core: EngineCore
        self.core, self.ready = start(load, self.events.append, as_on_cuda=as_on_cuda)

    @property
    def notes(self) -> list[str]:
        """The kinds of the events."""
        return [event.__struct_config__.tag for event in self.events]

    @property
    def checkpoint(self) -> Checkpoint:
        return self.core.checkpoint

    def add(self, asked: list[Request]) -> None:
        for ticket, request in enumerate(asked):
            self.core.add(ticket, request, time.monotonic())

    def finish(self, at_most: int = 10_000) -> list[Completion]:
        """Steps until nothing is left."""
        completions: list[Completion] = []
        for _ in range(at_most):
            completions += [finished.completion for finished in self.core.step()]
            if self.core.is_idle:
                return completions
        raise AssertionError("the core does not come to an end")

    def generate(self, asked: list[Request]) -> dict[SampleKey, Completion]:
        self.add(asked)
        completions = self.finish()
        by_key = {completion.key: completion for completion in completions}
        assert len(by_key) == len(completions) == sum(len(request.sample_indices) for request in asked)
        return by_key


def texts(completions: dict[SampleKey, Completion]) -> dict[SampleKey, str]:
    return {key: completion.text for key, completion in completions.items()}


def reference(checkpoint: Checkpoint, asked: list[Request], folder: Path) -> dict[SampleKey, str]:
    """What transformers generates for each request alone."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = {}
    for request in asked:
        assert isinstance(request.prompt, TextPrompt)
        tokens = checkpoint.tokenizer(request.prompt.text, return_tensors="pt")["input_ids"]
        limit = request.sampling.max_new_tokens
        generated = model.generate(
            tokens, max_new_tokens=limit, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(tokens)
        )
        text = checkpoint.tokenizer.decode(generated[0, tokens.shape[1] :], skip_special_tokens=True)
        expected |= {SampleKey(request.problem_id, index): text for index in request.sample_indices}
    return expected


GREEDY_TEXTS: dict[tuple[Path, SamplingParameters, str], str] = {}
"""What transformers generates, by the folder of a model that no test changes, the sampling and the prompt."""


def greedy_reference(checkpoint: Checkpoint, asked: list[Request], folder: Path) -> dict[SampleKey, str]:
    """`reference` of greedy requests of one sampling; tests of one model share what it generates."""
    (sampling,) = {request.sampling for request in asked}
    by_prompt = {request.prompt.text: request for request in asked if isinstance(request.prompt, TextPrompt)}
    new = [request for text, request in by_prompt.items() if (folder, sampling, text) not in GREEDY_TEXTS]
    generated = {key.problem_id: text for key, text in reference(checkpoint, new, folder).items()} if new else {}
    GREEDY_TEXTS.update({(folder, sampling, request.prompt.text): generated[request.problem_id] for request in new})  # type: ignore[union-attr]
    return {
        SampleKey(request.problem_id, index): GREEDY_TEXTS[folder, sampling, text]
        for text, request in by_prompt.items()
        for index in request.sample_indices
    }


def few_shot(sampling: SamplingParameters, count: int = 5) -> list[Request]:
    """Requests whose prompts begin with the same examples, of more than 100 tokens."""
    letters = random.Random(6)
    examples = "".join(letters.choice("abcdefgh =int\n") for _ in range(150))
    return [
        msgspec.structs.replace(request, prompt=TextPrompt(f"{examples}{number} {request.prompt.text[:40]}"))
        for number, request in enumerate(requests(sampling, count=count))
        if isinstance(request.prompt, TextPrompt)
    ]


class FallbackBench(Bench):
    """A bench whose core is the fallback."""

    @property
    def checkpoint(self) -> object:  # type: ignore[override]
        return self.core._checkpoint  # type: ignore[attr-defined]
