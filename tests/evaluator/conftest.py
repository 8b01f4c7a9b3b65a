"""Fixtures of the evaluator's tests."""

from collections.abc import Iterator

import pytest

from taco_stream.evaluator.comparer import Comparer


@pytest.fixture(scope="module")
def comparer() -> Iterator[Comparer]:
    opened = Comparer()
    yield opened
    opened.close()
