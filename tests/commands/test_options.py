"""Flags that cannot be parsed are refused in one sentence, whether they are settings or not."""

import pytest

from taco_stream.cli import app
from taco_stream.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run --mode strct", "--mode cannot be 'strct': it is strict, official or spj; did you mean 'strict'?"),
        ("run --samples ten", "--samples cannot be 'ten': it is a whole number"),
        ("run --k 1 --k ten", "--k cannot be 'ten': it is a whole number"),
        ("report x --mode strct", "--mode cannot be 'strct': it is strict, official or spj; did you mean 'strict'?"),
        ("report x --k ten", "--k cannot be 'ten': it is a whole number"),
        (
            "export x --format json",
            "--format cannot be 'json': it is taco, evalplus, livecodebench, parquet or inspect",
        ),
    ],
)
def test_a_refused_flag_is_one_sentence_that_says_what_may_be_given(arguments: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        app(args=arguments.split(), standalone_mode=False)
    assert str(raised.value) == sentence
