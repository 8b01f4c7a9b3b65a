"""APPS (`codeparrot/apps`): the columns that TACO's were made from, without skills and tags.

Published as JSON Lines: id (`problem_id` once loaded), question, solutions, input_output, difficulty (introductory,
interview, competition), url, starter_code. The difficulties keep their names: no correspondence with TACO's is
published. The source of a problem is the site its url names.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from taco_stream.datasets import taco
from taco_stream.datasets.rows import Adapter, Value, read_text
from taco_stream.types import Problem


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    problem = taco.ADAPTER.parse_problem(values, position)
    # `codeforces` of `https://codeforces.com/problemset/…`, which is how TACO names its sources.
    labels = (urlsplit(read_text(values, "url")).hostname or "").removeprefix("www.").split(".")
    return msgspec.structs.replace(problem, source=labels[-2] if len(labels) > 1 else labels[0])


ADAPTER = Adapter(
    name="APPS",
    recognised_by=frozenset({"question", "input_output", "solutions", "difficulty", "url"}),
    excluded_by=frozenset({"skill_types", "source"}),
    reads=taco.ADAPTER.reads | {"url"},
    parse_problem=_parse_problem,
)
