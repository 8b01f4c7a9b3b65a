"""Our own completions, written by a run and read back."""

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import msgspec
from foreign_files import Write, counts, few_examples, ids, refused, seconds, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_values import completion, manifest

from taco_stream.formats import read_completions
from taco_stream.sample_set import MAX_SAMPLES
from taco_stream.store.run_directory import COMPLETIONS, open_run
from taco_stream.types import Completion, FinishReason

completions = st.builds(
    Completion,
    problem_id=ids,
    sample_index=st.integers(0, 20) | st.just(MAX_SAMPLES - 1),
    text=texts,
    finish_reason=st.sampled_from([each for each in FinishReason if each is not FinishReason.CANCELLED]),
    prompt_tokens=counts,
    completion_tokens=counts,
    seed=counts,
    engine=texts,
    queue_seconds=seconds,
    generate_seconds=seconds,
    error=st.none() | texts,
)


@given(st.lists(completions, min_size=1, max_size=6, unique_by=lambda each: each.key))
@settings(few_examples, max_examples=25)
def test_completions_that_a_run_writes_are_read_the_same(expected: list[Completion]) -> None:
    """Every field, in the order written."""

    async def run_them(path: Path) -> None:
        async with open_run(path, manifest()) as run:
            await run.append(expected)

    with TemporaryDirectory() as folder:
        anyio.run(run_them, Path(folder) / "run")
        assert list(read_completions(Path(folder) / "run" / COMPLETIONS)) == expected


def test_our_own_completion_with_a_field_of_another_type_is_refused(write: Write) -> None:
    value = msgspec.to_builtins(completion()) | {"finish_reason": "boredom"}
    refused(write(value), "line 1", "boredom")
