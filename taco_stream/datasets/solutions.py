"""Reference solutions, which a `Problem` keeps as the JSON text of its source until they are needed."""

import msgspec

from taco_stream.types import Problem


def read_solutions(problem: Problem) -> tuple[str, ...]:
    """The reference programs of a problem; none if it has none. Raises `msgspec.MsgspecError` if they are broken."""
    return msgspec.json.decode(problem.solutions, type=tuple[str, ...]) if problem.solutions.strip() else ()
