"""Trains the embedded model: `python -m taco_stream.demo.train [FOLDER]`.

The model learns to continue TACO's own base-model prompt with a program. New exercises are drawn for every step
from `families.toml`. The loss is mostly that of the answers; that of the prompts, in which names and numbers recur,
teaches the model to copy. Everything is drawn from one seed, so the same machine with the same versions writes the same
weights. Without a folder it writes over the packaged model.
"""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from taco_stream.demo.exercises import COLLECTION, Exercise, draw_exercise
from taco_stream.prompting import base_prompt

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20
STEPS = 500
BATCH_SIZE = 16
MATRIX_LEARNING_RATE = 0.02
OTHER_LEARNING_RATE = 3e-3
WARM_UP_STEPS = 20
VOCABULARY_SIZE = 900
TOKENIZER_EXERCISES = 4000
PROMPT_WEIGHT = 0.2
"""How much a token of the prompt counts in the loss, where one of the answer counts 1."""

NOISE_SHARE = 0.05
"""The share of a question's tokens that are replaced by random ones, so that no single word decides."""

CONTEXT_TOKENS = 1024
THREADS = 1
"""One: on a shared machine two threads wait for each other at every step, measured six times slower."""
END_OF_TEXT = "<|endoftext|>"
Number = TypeVar("Number", int, float)

MODEL = Path(__file__).parent / "model"


def train(folder: Path) -> None:
    """Trains tokenizer and model and writes both to `folder` as transformers reads them."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    started = time.monotonic()
    tokenizer = train_tokenizer()
    model = new_model(tokenizer)
    optimizers = _optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, _learning_rate_factor) for one in optimizers]
    print(f"{model.num_parameters():,} parameters, {len(COLLECTION.families)} families of problems")
    for step, batch in enumerate(_batches(tokenizer), start=1):
        loss = _loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad()
        if step % 20 == 0:
            print(f"step {step}/{STEPS}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"wrote {folder} after {time.monotonic() - started:.0f} s")


def training_exercises() -> Iterator[Exercise]:
    """Draws every exercise that the model is trained on, in the order of training."""
    random = Random(SEED)
    for _ in range(STEPS * BATCH_SIZE):
        yield draw_exercise(random.choice(COLLECTION.families), random)


def train_tokenizer() -> "PreTrainedTokenizerFast":
    """A byte-level BPE tokenizer over the prompts and programs; digits stay single tokens, so that numbers copy."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    exercises = itertools.islice(training_exercises(), TOKENIZER_EXERCISES)
    tokenizer.train_from_iterator((_training_text(exercise) for exercise in exercises), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """A Llama small enough to train in minutes, with grouped key-value heads as large ones have them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Batch(NamedTuple):
    """Texts padded on the right, all of shape (BATCH_SIZE, longest text).

    `read` is the model's input, `written` the target (the same without noise), `weights` how much each
    token counts.
    """

    read: "torch.Tensor"
    written: "torch.Tensor"
    weights: "torch.Tensor"


def _batches(tokenizer: "PreTrainedTokenizerFast") -> Iterator[Batch]:
    """Yields the `STEPS` batches of the training."""
    import torch

    exercises = training_exercises()
    noise = Random(SEED)
    while chosen := list(itertools.islice(exercises, BATCH_SIZE)):
        prompts = [tokenizer(base_prompt(exercise.problem).text).input_ids for exercise in chosen]
        answers = [tokenizer(exercise.program + END_OF_TEXT).input_ids for exercise in chosen]
        noisy = [
            _with_noise(tokenizer, prompt, len(tokenizer(exercise.problem.question).input_ids), noise)
            for prompt, exercise in zip(prompts, chosen, strict=True)
        ]
        pairs = list(zip(prompts, answers, strict=True))
        weights = [[PROMPT_WEIGHT] * len(prompt) + [1.0] * len(answer) for prompt, answer in pairs]
        yield Batch(
            torch.tensor(_pad([prompt + answer for prompt, answer in zip(noisy, answers, strict=True)], 0)),
            torch.tensor(_pad([prompt + answer for prompt, answer in pairs], 0)),
            torch.tensor(_pad(weights, 0.0)),
        )


def _with_noise(tokenizer: "PreTrainedTokenizerFast", tokens: list[int], end: int, noise: Random) -> list[int]:
    """The tokens with some of those before `end` replaced, but never a digit: the program depends on it."""
    return [
        noise.randrange(len(tokenizer))
        if index < end and noise.random() < NOISE_SHARE and not tokenizer.decode(token).strip().isdigit()
        else token
        for index, token in enumerate(tokens)
    ]


def _pad(rows: list[list[Number]], filler: Number) -> list[list[Number]]:
    longest = max(map(len, rows))
    return [row + [filler] * (longest - len(row)) for row in rows]


def _loss(model: "LlamaForCausalLM", batch: Batch) -> "torch.Tensor":
    """The weighted mean of the cross entropies of all tokens but the first."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=batch.read).logits[:, :-1]
    losses = cross_entropy(logits.flatten(0, 1), batch.written[:, 1:].flatten(), reduction="none")
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def _training_text(exercise: Exercise) -> str:
    return base_prompt(exercise.problem).text + exercise.program + END_OF_TEXT


def _optimizers(model: "LlamaForCausalLM") -> "tuple[torch.optim.Optimizer, ...]":
    """Muon for the matrices of the layers, AdamW for the rest.

    After 100 steps the answers' loss was 0.54 so, and 1.19 with AdamW for all.
    """
    import torch

    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]
    of_layers = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in of_layers]
    return (
        torch.optim.Muon(matrices, lr=MATRIX_LEARNING_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=OTHER_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01),
    )


def _learning_rate_factor(step: int) -> float:
    """Rises linearly, stays until half of the steps, and falls linearly to almost nothing."""
    return min(1.0, (step + 1) / WARM_UP_STEPS, max(0.05, 2 * (STEPS - step) / STEPS))


if __name__ == "__main__":
    train(Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL)
