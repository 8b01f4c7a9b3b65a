"""Sample indices for formats that have none: the samples of a problem count from 0 in the order they stand."""

from collections import Counter

from taco_stream.types import Completion, FinishReason


class Numbering:
    """Makes completions of texts; `engine` says in each where it comes from."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._samples: Counter[str] = Counter()

    def completion(self, problem_id: str, text: str, sample_index: int | None = None) -> Completion:
        """The next sample of a problem, or the one with the index given."""
        if sample_index is None:
            sample_index = self._samples[problem_id]
            self._samples[problem_id] += 1
        return Completion(
            problem_id=problem_id,
            sample_index=sample_index,
            text=text,
            finish_reason=FinishReason.STOP,
            engine=self._engine,
        )
