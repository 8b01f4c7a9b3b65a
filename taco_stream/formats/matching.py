"""Which of the completions read fit the problems asked for. Pure: names in, sentences out."""

from collections.abc import Iterable, Mapping, Sequence

from taco_stream.errors import UsageError
from taco_stream.types import SampleKey

NAMES_SHOWN = 10


def match_ids(held: Mapping[str, int], asked: Iterable[str], repeated: Sequence[SampleKey] = ()) -> tuple[str, ...]:
    """What does not fit: a sentence for each kind of gap, with its count and the first ten names.

    `held` counts the samples of each problem in the file, `asked` are the ids of the dataset, `repeated` names the
    samples that the file has again. A problem has too few samples where it has fewer than the one with most. Raises
    `UsageError` where nothing fits at all.
    """
    problems = dict.fromkeys(asked)
    if held.keys().isdisjoint(problems):
        raise UsageError(
            f"none of the completions is of a problem asked for: they are of {_first(held)}, "
            f"the dataset has {_first(problems)} (--dataset names another)"
        )
    most = max((count for name, count in held.items() if name in problems), default=0)
    too_few = {name: count for name, count in held.items() if name in problems and count < most}
    gaps = {
        "problems of the completions are none of those asked for": [name for name in held if name not in problems],
        "problems have no completion": [name for name in problems if not held.get(name)],
        f"problems have fewer than {most} samples": [f"{name} ({count})" for name, count in too_few.items()],
    }
    sentences = [f"{len(names)} {what}: {', '.join(names[:NAMES_SHOWN])}" for what, names in gaps.items() if names]
    if repeated:
        names = ", ".join(f"{problem_id} (sample {index})" for problem_id, index in repeated[:NAMES_SHOWN])
        sentences.append(f"{len(repeated)} completions repeat a sample, and the first of each counts: {names}")
    return tuple(sentences)


def _first(names: Iterable[str], shown: int = 3) -> str:
    """The first few names; where there are more, it says how many."""
    every = list(names)
    return ", ".join(every[:shown]) + (f" … ({len(every)} problems)" if len(every) > shown else "")
