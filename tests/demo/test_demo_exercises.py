"""What the embedded model learns from is right: every program of a family solves every one of its problems."""

from random import Random

import pytest

from taco_stream.demo.exercises import COLLECTION, Family, call_function, draw_exercise, draw_input, filled, run_program

FAMILIES = COLLECTION.families


def execute(program: str, given: str, function: str | None) -> object:
    """What a program of a family prints, or what its function returns."""
    return run_program(program, given) if function is None else call_function(program, given, function)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_programs_of_a_family_agree(family: Family) -> None:
    """Whatever the parameters and the input, all programs of one family give the same answer."""
    random = Random(5)
    for _ in range(40):
        given = draw_input(family, random)
        values = {name: random.choice(choices) for name, choices in COLLECTION.choices(family).items()}
        programs = [filled(program, values) for program in family.programs]
        answers = [execute(program, given, values.get("function")) for program in programs]
        assert all(answer == answers[0] for answer in answers), (given, values, answers)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_parameter_is_filled_in(family: Family) -> None:
    """No placeholder is left in what the model reads or writes."""
    placeholders = {f"<{name}>" for name in (*COLLECTION.choices(family), "Who")}
    random = Random(6)
    for _ in range(40):
        problem, program = draw_exercise(family, random)
        assert not [mark for mark in placeholders if mark in problem.question + problem.starter_code + program]


def test_the_same_seed_draws_the_same_exercise() -> None:
    """Training is reproducible because drawing is."""
    assert draw_exercise(FAMILIES[0], Random(7)) == draw_exercise(FAMILIES[0], Random(7))


def test_family_names_are_unique() -> None:
    """A family is named once."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
