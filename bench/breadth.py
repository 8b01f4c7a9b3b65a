"""Which architectures slots serve, which go through `generate`, and whether both give transformers' own tokens.

python bench/breadth.py [--only qwen2 …] [--jobs 2] [--timeout 120] [--results FILE] [--out docs/architectures.md]

Every decoder-only architecture of the installed transformers is made in a tiny form with random weights, and where it
can have windows or another rotary scaling in these forms as well (`tiny_architectures.py`). A batch of prompts of mixed
lengths, two samples each, is generated greedily in float32 over five slots, in chunks and with a preemption, and held
against `generate` for each prompt alone. Every case has a process of its own, which is killed after the time-out.
Results are appended to `--results` as they come, and what stands there is not run again.
"""

import argparse
import json
import os
import random
import select
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from tiny_architectures import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, Case, cases, reason_to_leave_out, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.load import start
from taco_stream.errors import TacoStreamError
from taco_stream.events import EngineEvent, GenerateFallback
from taco_stream.types import Completion, FinishReason, Request, SampleKey, SamplingParameters, TextPrompt

PROMPT_LENGTHS = (2, 80, 33, 110, 17, 60)
NEW_TOKENS = 26
SAMPLES = 2
SLOTS = 5
CHUNK = 50
PREEMPTED_AFTER = 25


class Result(NamedTuple):
    """`served` is slots, generate, refused or nothing; `verdict` identical, different, crash, time-out or not built."""

    served: str
    verdict: str
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="MODEL_TYPE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.nice(1)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    everything = cases()
    results: dict[tuple[str, str], Result] = {}
    if options.results and options.results.exists():
        for line in options.results.read_text(encoding="utf-8").splitlines():
            model_type, form, *result = json.loads(line)
            results[model_type, form] = Result(*result)
    chosen = [case for case in everything if not options.only or case.model_type in options.only]
    for case, result in run_all([case for case in chosen if case.name not in results], options.jobs, options.timeout):
        results[case.name] = result
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*case.name, *result]) + "\n")
    table = render(everything if options.results else chosen, results)
    if options.out:
        options.out.write_text(table, encoding="utf-8")
    else:
        print(table)
    bad = [case for case in chosen if results[case.name].verdict in ("different", "crash", "time-out")]
    sys.exit(1 if bad else 0)


def run_all(chosen: Sequence[Case], jobs: int, timeout: float) -> Iterator[tuple[Case, Result]]:
    """Runs the cases in processes forked from this one, which has imported everything, `jobs` at a time."""
    waiting = list(reversed(chosen))
    running: dict[int, tuple[Case, int, float]] = {}  # by the pipe's end: the case, the process, when it is killed
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                case = waiting.pop()
                pipe, process = fork(case, Path(folder))
                running[pipe] = case, process, time.monotonic() + timeout
            ready, _, _ = select.select(list(running), [], [], 0.5)
            for pipe, (case, process, deadline) in list(running.items()):
                if pipe not in ready and time.monotonic() < deadline:
                    continue
                if pipe not in ready:
                    os.kill(process, 9)
                with os.fdopen(pipe, encoding="utf-8") as answer:
                    text = answer.read()
                _, status = os.waitpid(process, 0)
                del running[pipe]
                ended = Result("", "time-out" if pipe not in ready else "crash", f"ended with {status}")
                result = Result(*json.loads(text)) if text else ended
                print(f"{case.model_type:24} {case.form:34} {' '.join(result)}", file=sys.stderr, flush=True)
                yield case, result


def fork(case: Case, folder: Path) -> tuple[int, int]:
    """Runs a case in a child; returns where its result can be read, and the child."""
    receiving, sending = os.pipe()
    process = os.fork()
    if process:
        os.close(sending)
        return receiving, process
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        result = run(case, folder / f"{case.model_type}-{os.getpid()}")
    except BaseException as error:  # whatever it is, the table says so
        result = Result("", "crash", f"in the benchmark: {one_line(error)}")
    os.write(sending, json.dumps(result).encode())
    os._exit(0)


def run(case: Case, folder: Path) -> Result:
    try:
        save_model(folder, case)
    except Exception as error:
        return Result("", "not built", one_line(error))
    events: list[EngineEvent] = []
    asked = requests()
    served = ""
    try:
        load = Load(model=str(folder), device="cpu", dtype="float32", batch_size=SLOTS, threads=1)
        core, _ = start(load, events.append)
        served = "slots" if isinstance(core, EngineCore) else "generate"
        completions = generate(core, asked)
    except TacoStreamError as error:
        return Result("refused", "", one_line(error).replace(str(folder), "the model"))
    except Exception as error:
        return Result(served, "crash", f"{one_line(error)} {traceback.format_exc().splitlines()[-4].strip()}")
    reasons = [event.message for event in events if isinstance(event, GenerateFallback)]
    reason = reasons[0].partition("which is slower: ")[2] if reasons else ""
    try:
        expected = references(asked, folder)
        differing = [request.problem_id for request in asked if differs(request, completions, expected, folder)]
    except Exception as error:
        return Result(served, "not comparable", f"generate: {one_line(error)}")
    if differing:
        return Result(served, "different", f"{len(differing)} of {len(asked)} prompts; {reason}")
    return Result(served, "identical", reason)


def requests() -> list[Request]:
    letters = random.Random(5)
    sampling = SamplingParameters(max_new_tokens=NEW_TOKENS, temperature=0)
    return [
        Request(
            problem_id=str(length),
            prompt=TextPrompt("".join(letters.choice("abcdefgh=int()") for _ in range(length))),
            sample_indices=tuple(range(SAMPLES)),
            sampling=sampling,
            seed=3,
        )
        for length in PROMPT_LENGTHS
    ]


def generate(core: Any, asked: Sequence[Request]) -> dict[SampleKey, Completion]:
    if isinstance(core, EngineCore):
        core.limit_prefill(CHUNK)
    for ticket, request in enumerate(asked):
        core.add(ticket, request, time.monotonic())
    completions: dict[SampleKey, Completion] = {}
    for step in range(5000):
        for finished in core.step():
            completions[finished.completion.key] = finished.completion
        if core.is_idle:
            return completions
        if step == PREEMPTED_AFTER and isinstance(core, EngineCore):
            core.preempt()
    raise RuntimeError("it does not come to an end")


def differs(
    request: Request, completions: dict[SampleKey, Completion], expected: dict[str, list[int]], folder: Path
) -> bool:
    """Whether a sample is not what `generate` gives. A prompt that leaves no room in the context has none."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for index in request.sample_indices:
        completion = completions[SampleKey(request.problem_id, index)]
        if completion.error and "leaves no room" in completion.error:
            continue
        tokens = expected[request.problem_id]
        if completion.finish_reason is FinishReason.LENGTH:  # at the end of the context it may be shorter
            tokens = tokens[: completion.completion_tokens]
        if completion.error or completion.text != tokenizer.decode(tokens, skip_special_tokens=True):
            return True
    return False


@torch.inference_mode()
def references(asked: Sequence[Request], folder: Path) -> dict[str, list[int]]:
    """The tokens that `generate` gives for each prompt alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0, "eos_token_id": 2}
    tokens = {}
    for request in asked:
        assert isinstance(request.prompt, TextPrompt)
        prompt = torch.tensor([tokenizer(request.prompt.text)["input_ids"]])
        generated = model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)
        tokens[request.problem_id] = generated[0, prompt.shape[1] :].tolist()
    return tokens


def one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def render(chosen: Sequence[Case], results: dict[tuple[str, str], Result]) -> str:
    """The page as Markdown."""
    not_run = Result("", "not run")
    shown = [results.get(case.name, not_run) for case in chosen]
    count = Counter((result.served, result.verdict) for result in shown)
    left_out = defaultdict(list)
    for model_type in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        if reason := reason_to_leave_out(model_type):
            left_out[reason].append(f"`{model_type}`")
    lines = [
        "# Architectures",
        "",
        f"Written by `bench/breadth.py` with transformers {transformers.__version__} and torch {torch.__version__};",
        "not edited by hand. Each architecture that transformers lists as a causal language model and that decodes",
        "text alone is made in a tiny form with random weights, in float32, and its greedy samples are compared with",
        "`generate`. *slots* is the batching engine, *generate* the slower fallback, with the reason beside it.",
        "",
        *(f"* {served or 'neither'}, {verdict or 'in a sentence'}: {number}" for (served, verdict), number in
          count.most_common()),
        "",
        "| architecture | form | served by | tokens | |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for case, result in zip(chosen, shown, strict=True):
        note = result.note.replace("|", "\\|")
        lines.append(f"| `{case.model_type}` | {case.form} | {result.served} | {result.verdict} | {note} |")
    lines += ["", "Left out:", ""]
    lines += [f"* {reason}: {', '.join(names)}" for reason, names in sorted(left_out.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
