"""The comparators, held by hypothesis to the rules that their modes reduce to."""

import numpy
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.evaluator.comparators import official, spj, strict
from taco_stream.types import SpecialJudge

TOKENS = st.lists(st.text("ab01.-", min_size=1, max_size=4), max_size=6)
TEXTS = st.text("ab01.- \n\t", max_size=24)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=2), values, max_size=3),
    max_leaves=8,
)


@given(TOKENS, st.lists(st.sampled_from([" ", "\n", "  ", "\t", " \n"]), min_size=6, max_size=6))
def test_strict_knows_no_white_space(tokens: list[str], spaces: list[str]) -> None:
    spread = "".join(token + space for token, space in zip(tokens, spaces, strict=False))
    assert strict.same_output(spread, " ".join(tokens))


@given(TOKENS, TOKENS)
def test_strict_is_equality_of_tokens(output: list[str], expected: list[str]) -> None:
    assert strict.same_output(" ".join(output), "\n".join(expected)) == (output == expected)


@given(PLAIN, PLAIN)
def test_strict_values_are_equality_with_tuples_as_lists(value: object, expected: object) -> None:
    assert strict.same_value(value, expected) == (value == expected)
    assert strict.same_value(as_tuples(value), value)


def as_tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: as_tuples(each) for key, each in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


@given(TEXTS, TEXTS, st.sampled_from(SpecialJudge))
def test_spj_accepts_whatever_strict_does(output: str, expected: str, judge: SpecialJudge) -> None:
    if strict.same_output(output, expected):
        assert spj.same_output(output, expected, judge)


@given(NUMBERS, st.floats(min_value=-1e-6, max_value=1e-6))
def test_spj_tolerates_a_millionth(expected: float, error: float) -> None:
    output = expected + 0.99 * error * max(1.0, abs(expected))
    assert spj.same_output(f"{output:.17g}", f"{expected:.17g}", SpecialJudge.FLOAT_TOLERANCE)
    assert not spj.same_output(
        f"{expected + 3e-6 * max(1.0, abs(expected)):.17g}", f"{expected:.17g}", SpecialJudge.NONE
    )


@given(TEXTS)
def test_official_accepts_what_is_equal_after_strip(text: str) -> None:
    assert official.same_output(f"  {text}\n\n", text)


@given(TEXTS, TEXTS)
def test_official_is_one_of_its_four_rules(output: str, expected: str) -> None:
    assert official.same_output(output, expected) == any(
        rule(output, expected) for rule in (equal_stripped, characters_close_to_lines, same_sets, same_rounded_sets)
    )


def equal_stripped(output: str, expected: str) -> bool:
    return output.strip() == expected.strip()


def characters_close_to_lines(output: str, expected: str) -> bool:
    """numpy's own `allclose`, over the characters of the output and the lines expected."""
    lines = [line.strip() for line in expected.split("\n") if line]
    try:
        return len(output) == len(lines) and bool(numpy.allclose([float(c) for c in output], [float(x) for x in lines]))
    except ValueError:
        return False


def same_sets(output: str, expected: str) -> bool:
    lines = [line.strip() for line in expected.split("\n") if line]
    return {frozenset(token) for token in output.split()} == {frozenset(line.split()) for line in lines}


def same_rounded_sets(output: str, expected: str) -> bool:
    lines = [line.strip() for line in expected.split("\n") if line]
    try:
        ours = {frozenset(round(float(c), 3) for c in token) for token in output.split()}
        return ours == {frozenset(round(float(token), 3) for token in line.split()) for line in lines}
    except ValueError:
        return False
