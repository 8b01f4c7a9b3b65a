"""Draws the exercises that the embedded model is trained on from the families in `families.toml`.

`draw_exercise` draws one wording, one scene, one set of parameters and one program of a family, runs the program on a
drawn input for the worked example, and puts them together as a problem and its answer. In wordings and programs
`<name>` is a parameter; `<who>`, `<Who>` and `<things>` are drawn for every family, `<function>` for those
whose programs are functions.
"""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from taco_stream.demo.inputs import DRAWS
from taco_stream.types import Problem

SCENE_SHARE = 0.75
"""The share of statements that open with a scene."""

EXACT_OUTPUT_SHARE = 0.7
"""The share of output sections that state the output itself, not only that there is one."""


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts that families with the same kind of input share."""

    scenes: tuple[str, ...]
    inputs: tuple[str, ...] = ()


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One idea, with everything that may vary about it; `families.toml` explains the fields."""

    name: str
    shape: str
    input: str
    asks: tuple[str, ...]
    programs: tuple[str, ...]
    answers: tuple[str, ...] = ()
    parameters: Mapping[str, tuple[str, ...]] = {}
    arguments: str = ""
    range: tuple[int, int] = (1, 20)


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `families.toml`."""

    people: tuple[str, ...]
    things: tuple[str, ...]
    function_beginnings: tuple[str, ...]
    function_endings: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]
    families: tuple[Family, ...]

    def choices(self, family: Family) -> Mapping[str, tuple[str, ...]]:
        """The values that each placeholder of a family may take."""
        names = tuple(first + second for first in self.function_beginnings for second in self.function_endings)
        functions = {"function": names} if family.arguments else {}
        return {"who": self.people, "things": self.things, **functions, **family.parameters}


class Exercise(NamedTuple):
    """A problem of a family with a program that solves it."""

    problem: Problem
    program: str


COLLECTION = msgspec.toml.decode((Path(__file__).parent / "families.toml").read_bytes(), type=Collection)


def draw_exercise(family: Family, random: Random) -> Exercise:
    """Draws one exercise; the same state of `random` draws the same one."""
    values = {name: random.choice(choices) for name, choices in COLLECTION.choices(family).items()}
    values["Who"] = values["who"][0].upper() + values["who"][1:]
    program = filled(random.choice(family.programs), values)
    given = draw_input(family, random)
    story = _story(family, values, random)
    function = values.get("function")
    if function is None:
        question = story + _formats(family, values, given, run_program(program, given), random)
        return Exercise(Problem(problem_id=family.name, position=0, question=question, tests="{}"), program)
    verb = random.choice(("returns", "gives", "should return"))
    question = f"{story}\n\nFor example, {function}({given}) {verb} {call_function(program, given, function)!r}.\n"
    starter = f"\ndef {function}({family.arguments}):\n    "
    return Exercise(
        Problem(
            problem_id=family.name,
            position=0,
            question=question,
            tests="{}",
            starter_code=starter,
            fn_name=function,
        ),
        program,
    )


def draw_input(family: Family, random: Random) -> str:
    """Draws an input of a family: the text of standard input, or the arguments of a call as Python writes them."""
    return DRAWS[family.input](random, *family.range)


def run_program(program: str, given: str) -> str:
    """The output of a program of a family for the lines that it reads, without the last newline."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {"input": iter(given.splitlines()).__next__})
    return printed.getvalue().rstrip("\n")


def call_function(program: str, given: str, function: str) -> object:
    """The result of the function of a program of a family for the arguments `given`."""
    names: dict[str, object] = {}
    exec(program, names)
    return eval(f"{function}({given})", names)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder replaced by its value."""
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def _story(family: Family, values: Mapping[str, str], random: Random) -> str:
    parts = [random.choice(family.asks)]
    if random.random() < SCENE_SHARE:
        parts.insert(0, random.choice(COLLECTION.shapes[family.shape].scenes))
    return filled(" ".join(parts), values)


def _formats(family: Family, values: Mapping[str, str], given: str, printed: str, random: Random) -> str:
    answer = f"Print {filled(random.choice(family.answers), values)}."
    output = answer if random.random() < EXACT_OUTPUT_SHARE else random.choice(COLLECTION.outputs)
    inputs = random.choice(COLLECTION.shapes[family.shape].inputs)
    return (
        f"\n\n-----Input-----\n\n{inputs}\n\n-----Output-----\n\n{output}\n\n"
        f"-----Example-----\n\nInput\n{given}\n\nOutput\n{printed}\n"
    )
