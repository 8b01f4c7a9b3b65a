"""The core on tiny models of many architectures, against transformers' own `generate`."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.bench import BRIEF, GREEDY, SAMPLED, Bench, few_shot, greedy_reference, reference, requests, texts
from engine.tiny_models import ARCHITECTURES

from taco_stream.engine.worker.prefill_pace import PrefillPace
from taco_stream.engine.worker.scheduler import Step
from taco_stream.events import PromptTooLong
from taco_stream.types import Completion, FinishReason, Request, SampleKey, SamplingParameters, TextPrompt

ModelFolder = Callable[[str], Path]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_samples_equal_generate(model_folder: ModelFolder, architecture: str) -> None:
    """Mixed lengths, admission in mid-flight, prompts shared by samples and cut into chunks, one preemption."""
    folder = model_folder(architecture)
    bench = Bench(folder)
    bench.core.limit_prefill(50)
    asked = requests(BRIEF, count=5)
    bench.add(asked)
    completions: list[Completion] = []
    for _ in range(20):
        completions += [finished.completion for finished in bench.core.step()]
    bench.core.preempt()
    completions += bench.finish()
    assert {completion.key: completion.text for completion in completions} == greedy_reference(
        bench.checkpoint, asked, folder
    )


def test_prompts_are_computed_once_nothing_decodes_whatever_the_pace(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pace counts the rows that will decode, not those that did: else no step would ever follow the last of them."""
    monkeypatch.setattr(PrefillPace, "STEPS_BESIDE", 0)  # no step with a chunk where anything decodes
    bench = Bench(model_folder("llama"))
    bench.add(requests(GREEDY))
    completions = [finished.completion for _ in range(10) for finished in bench.core.step()]
    bench.core.preempt()
    completions += bench.finish()
    assert len(completions) == 24


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_a_beginning_that_prompts_share_is_computed_once(model_folder: ModelFolder, architecture: str) -> None:
    """And the samples are those of every prompt by itself."""
    folder = model_folder(architecture)
    bench = Bench(folder)
    bench.core.limit_prefill(50)
    asked = few_shot(GREEDY)
    computed = 0
    launch = bench.core.runner.launch

    def counted(step: Step) -> Any:
        nonlocal computed
        computed += sum(len(chunk.tokens) for chunk in step.chunks)
        return launch(step)

    bench.core.runner.launch = counted  # type: ignore[method-assign]
    completions = bench.generate(asked)
    assert texts(completions) == reference(bench.checkpoint, asked, folder)
    lengths = {completion.problem_id: completion.prompt_tokens for completion in completions.values()}
    assert computed < sum(lengths.values()) - 4 * 100


def test_a_sample_does_not_depend_on_its_batch(model_folder: ModelFolder) -> None:
    """In float32, and up to rounding that would have to flip a draw."""
    folder = model_folder("llama")
    one = Bench(folder, batch_size=1).generate(requests(SAMPLED))
    seven = Bench(folder, batch_size=7).generate(requests(SAMPLED)[::-1])
    assert texts(one) == texts(seven)


def test_samples_of_a_prompt_differ(model_folder: ModelFolder) -> None:
    completions = Bench(model_folder("llama")).generate(requests(SAMPLED, samples=6, count=1))
    assert len({completion.text for completion in completions.values()}) == 6


def test_another_seed_gives_other_samples(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"))
    asked = requests(SAMPLED, count=1)[0]
    other = Request(**{name: getattr(asked, name) for name in asked.__struct_fields__} | {"seed": 4})
    assert texts(bench.generate([asked])) != texts(bench.generate([other]))


def test_a_stop_string_ends_a_sample_and_is_cut_off(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"))
    whole = texts(bench.generate(requests(GREEDY, samples=1)))
    key, text = max(whole.items(), key=lambda item: len(item[1]))
    stop = text[5:7]
    stopping = SamplingParameters(max_new_tokens=40, temperature=0, stop=(stop, "never seen"))
    completion = bench.generate(requests(stopping, samples=1))[key]
    assert completion.text == text[: text.index(stop)]
    assert completion.finish_reason is FinishReason.STOP_STRING
    assert completion.completion_tokens < 40


def test_a_prompt_that_fills_the_context_is_an_error_that_says_so(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"))
    long = Request(problem_id="long", prompt=TextPrompt("a" * 256), sample_indices=(0, 1), sampling=GREEDY)
    for completion in bench.generate([long]).values():
        assert completion.finish_reason is FinishReason.ERROR
        assert completion.error == "the prompt has 256 tokens, which leaves no room in a context of 256"
        assert completion.prompt_tokens == 256


def test_a_sample_ends_where_the_context_is_full(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("gpt_neox"))
    long = Request(problem_id="long", prompt=TextPrompt("a" * 250), sample_indices=(0,), sampling=GREEDY)
    (completion,) = bench.generate([long]).values()
    assert completion.completion_tokens == 6
    assert completion.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(("length", "left"), [(216, None), (217, 39), (250, 6), (300, 0)])
def test_a_prompt_that_leaves_too_little_room_is_noted_once(
    model_folder: ModelFolder, length: int, left: int | None
) -> None:
    """40 new tokens are asked for, in a context of 256; requests come in several pieces."""
    bench = Bench(model_folder("gpt_neox"))
    pieces = [
        Request(problem_id="long", prompt=TextPrompt("a" * length), sample_indices=(index,), sampling=GREEDY)
        for index in range(2)
    ]
    bench.generate(pieces)
    if left is None:
        assert bench.events == []
        return
    (event,) = bench.events
    assert event == PromptTooLong(
        at=event.at,
        message=f"the prompt has {length} tokens, which leaves {left} of the 40 new tokens asked for in a context of 256",
        problem_id="long",
        prompt_tokens=length,
        context_length=256,
        new_tokens_wanted=40,
        new_tokens_left=left,
    )


def test_an_empty_prompt_is_an_error(model_folder: ModelFolder) -> None:
    empty = Request(problem_id="empty", prompt=TextPrompt(""), sample_indices=(0,), sampling=GREEDY)
    (completion,) = Bench(model_folder("llama")).generate([empty]).values()
    assert completion.error == "the prompt is empty"


def test_slots_grow_longer_for_a_longer_request(model_folder: ModelFolder) -> None:
    """What decodes already goes on as if nothing had happened."""
    folder = model_folder("llama")
    expected = texts(Bench(folder).generate(requests(SAMPLED)))
    bench = Bench(folder, usual_length=32)
    assert texts(bench.generate(requests(SAMPLED))) == expected


def test_cancelled_samples_leave_within_a_step(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"), batch_size=3)
    bench.add(requests(GREEDY, samples=2, count=2))
    for _ in range(4):
        bench.core.step()
    bench.core.cancel(frozenset({0}))
    finished = bench.core.step()
    assert [(item.ticket, item.completion.finish_reason) for item in finished] == [(0, FinishReason.CANCELLED)] * 2
    assert bench.core.statistics().rows_busy == 2
    assert len(bench.finish()) == 2


def test_draining_finishes_what_decodes_and_cancels_the_rest(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("gpt_neox"), batch_size=2)
    bench.add(requests(GREEDY, samples=3, count=2))
    for _ in range(4):
        bench.core.step()
    bench.core.drain()
    reasons = sorted(completion.finish_reason for completion in bench.finish())
    assert reasons == [FinishReason.CANCELLED] * 4 + [FinishReason.LENGTH] * 2


def test_what_is_withdrawn_comes_back_unless_it_has_begun(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("gpt_neox"), batch_size=2)
    bench.add(requests(BRIEF, samples=3, count=2))
    for _ in range(4):
        bench.core.step()
    bench.core.withdraw(0, frozenset((0, 2)))  # the first is decoding
    bench.core.withdraw(1, frozenset((1,)))
    completions = bench.finish()
    cancelled = [each.key for each in completions if each.finish_reason is FinishReason.CANCELLED]
    assert sorted(cancelled) == [SampleKey("p0", 2), SampleKey("p1", 1)]
    assert len(completions) == 6


class Exhausted:
    """Lets a runner run out of memory at set steps that match a condition."""

    def __init__(self, bench: Bench, when: Callable[[Step], bool], times: int) -> None:
        self._launch = bench.core.runner.launch
        self._when = when
        self.times = times
        bench.core.runner.launch = self  # type: ignore[method-assign, assignment]

    def __call__(self, step: Step) -> Any:
        if self.times and self._when(step):
            self.times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return self._launch(step)


def test_out_of_memory_while_decoding_halves_the_slots_and_loses_nothing(model_folder: ModelFolder) -> None:
    folder = model_folder("llama")
    expected = texts(Bench(folder).generate(requests(SAMPLED)))
    bench = Bench(folder, batch_size=8)
    Exhausted(bench, lambda step: len(step.decoding) > 4, times=10)
    assert texts(bench.generate(requests(SAMPLED))) == expected
    assert bench.notes == ["slots_halved"]
    assert bench.core.statistics().rows_total == 4


def test_slots_that_did_not_fit_are_gone_before_others_are_made(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the new ones would not fit either: the error's traceback holds whatever the failed step had in its hands."""
    bench = Bench(model_folder("llama"), batch_size=8)
    runner = bench.core.runner
    launch, allocate = runner.launch, runner.allocate
    old = weakref.ref(runner._attention.cache)
    is_alive = []

    def fail_once(step: Step) -> Any:
        held = runner._attention.cache
        if not is_alive:
            raise torch.OutOfMemoryError(f"CUDA out of memory (simulated) beside {id(held)}")
        return launch(step)

    def observed(slots: int, length: int) -> None:
        is_alive.append(old() is not None)
        allocate(slots, length)

    monkeypatch.setattr(runner, "launch", fail_once)
    monkeypatch.setattr(runner, "allocate", observed)
    bench.generate(requests(SAMPLED, samples=1, count=2))
    assert is_alive == [False]


def test_a_device_is_asked_for_its_memory_before_the_slots_are_made(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([7, 3])
    monkeypatch.setattr("taco_stream.engine.worker.load.slots_in_memory", lambda *_: next(free))
    bench = Bench(model_folder("llama"), batch_size=None)
    cache = bench.core.runner._attention.cache
    assert cache is not None
    assert bench.ready.slots == cache.slots == 7


def test_out_of_memory_while_prefilling_halves_the_chunk_first(model_folder: ModelFolder) -> None:
    folder = model_folder("llama")
    expected = texts(Bench(folder).generate(requests(SAMPLED)))
    bench = Bench(folder)
    Exhausted(bench, lambda step: sum(len(chunk.tokens) for chunk in step.chunks) > 60, times=99)
    assert texts(bench.generate(requests(SAMPLED))) == expected
    assert set(bench.notes) == {"prefill_halved"}


def test_a_sample_too_large_alone_is_an_error_completion(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"))
    Exhausted(bench, lambda step: True, times=10_000)
    completions = bench.generate(requests(SAMPLED, samples=1, count=2))
    assert {completion.error for completion in completions.values()} == {
        "the sample does not fit into the device's memory"
    }


def test_another_error_of_the_model_is_not_taken_for_memory(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"))

    def fail(step: Step) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    bench.core.runner.launch = fail  # type: ignore[method-assign, assignment]
    bench.add(requests(SAMPLED, samples=1, count=1))
    with pytest.raises(RuntimeError, match="device-side assert"):
        bench.finish()
