"""Which names of a program the code of its tests reads."""

import pytest

from taco_stream.evaluator.assertions import Assertions

READ = {
    "the entry point, builtins and the header's": ("assert f(len(sqrt(4)), Counter()) == sys.maxsize", set()),
    "a class": ("assert f(Pair(1, 2)) == 3", {"Pair"}),
    "in a function": ("def check(candidate):\n    assert candidate(helper(1)) == 1\ncheck(f)", {"helper"}),
    "its own, at any depth": ("import re\nx = 1\ndef check(c):\n    y = [z for z in re.split('', 'a')]\n    c(x, y)\ncheck(f)", set()),
    "one that a function makes global": ("def check(c):\n    global seen\n    seen = c()\ncheck(f)\nassert seen", set()),
    "in a class": ("class Case:\n    expected = helper\n    other = expected", {"helper"}),
    "an attribute is not a name": ("assert f().real == 1", set()),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "names"), READ.values(), ids=READ)
def test_names_of_the_program_are_found(statement: str, names: set[str]) -> None:
    assertions = Assertions(entry_point="f", statements=(statement,))
    assert assertions.other_names() == names
    assert assertions.needs_program == bool(names)


def test_what_the_prompt_and_the_setup_define_is_not_the_programs() -> None:
    assertions = Assertions(
        entry_point="f",
        prompt="import numpy as np\ndef helper(a):\n    return a\n",
        setup="root = helper(1)",
        statements=("assert f(root) == np.abs(helper(1))",),
    )
    assert not assertions.needs_program


def test_without_an_entry_point_the_program_is_needed() -> None:
    assert Assertions(entry_point="", statements=("assert True",)).needs_program
