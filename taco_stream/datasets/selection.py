"""Which problems of a dataset a run takes.

Filters first (every one given must hold), then the shuffle, then the limit, then the shard; so the shards of one
selection are disjoint and together are exactly the problems that a run without `--shard` takes. All comparisons of
names ignore letter case and treat spaces and underscores alike.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from taco_stream.datasets.settings import DatasetSettings
from taco_stream.errors import NOT_DECODED, UsageError
from taco_stream.readable_file import read_small_file
from taco_stream.types import Problem

_SHARD = re.compile(r"(?P<index>\d+)/(?P<count>\d+)|(?P<auto>auto)(?:/(?P<of>\d+))?")


class Shard(msgspec.Struct, frozen=True):
    """The `index`-th, from zero, of `count` equal parts."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The problems wanted. An empty filter admits everything; several values of one filter are alternatives."""

    split: str = "test"
    difficulties: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    limit: int | None = None
    shuffle_seed: int | None = None
    shard: Shard | None = None

    def admits(self, problem: Problem) -> bool:
        """Whether the problem passes every filter."""
        return (
            _meet(self.difficulties, (problem.difficulty,))
            and _meet(self.skills, problem.skills)
            and _meet(self.tags, problem.tags)
            and _meet(self.sources, (problem.source,))
            and (not self.ids or problem.problem_id in self.ids)
            and problem.problem_id not in self.excluded
        )


def read_selection(settings: DatasetSettings) -> Selection:
    """The selection that the settings describe. Raises `UsageError` if one of them cannot be understood."""
    return Selection(
        split=settings.split,
        difficulties=settings.difficulty,
        skills=settings.skill,
        tags=settings.tag,
        sources=settings.source,
        ids=settings.ids,
        excluded=_read_ids(Path(settings.exclude)) if settings.exclude else (),
        limit=settings.limit,
        shuffle_seed=settings.shuffle,
        shard=parse_shard(settings.shard) if settings.shard else None,
    )


def nearest_ids(name: str, ids: Iterable[str]) -> list[str]:
    """The ids closest to `name`, at most three: `demo/001` for `1` and for `Demo/01`."""
    plain = {each: _plain_id(each) for each in ids}
    wanted = _plain_id(name)
    # An exact match, or the last part of one, was meant; only without one are similar ids of use.
    same = [each for each, its in plain.items() if its == wanted or its.endswith(f"/{wanted}")]
    if same:
        return same[:3]
    close = difflib.get_close_matches(wanted, set(plain.values()), 3, cutoff=0.7)
    return [each for each, its in plain.items() if its in close][:3]


def _plain_id(name: str) -> str:
    """An id without the parts that people leave out: the case of letters and zeros before a number."""
    return re.sub(r"0*([0-9]+)", r"\1", name.strip().casefold())


def _meet(wanted: tuple[str, ...], present: tuple[str, ...]) -> bool:
    return not wanted or not {_fold(name) for name in wanted}.isdisjoint(_fold(name) for name in present)


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def parse_shard(text: str, environ: Mapping[str, str] = os.environ) -> Shard:
    """The shard that a setting names: `i/n`, or `auto` or `auto/n` for the one that a job array gives this process.

    Slurm tells a task its number, the lowest number, the step and how many there are (`SLURM_ARRAY_TASK_ID`, `_MIN`,
    `_STEP`, `_COUNT`); an indexed job of Kubernetes tells its number alone (`JOB_COMPLETION_INDEX`). With `auto/n` the
    number is the shard's, so that one task of an array can be submitted again. Raises `UsageError`.
    """
    match = _SHARD.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--shard cannot be {text!r}: it is i/n with i from 0 to n-1, such as 0/4, auto or auto/n")
    index, count = match["index"], match["count"] or match["of"]
    if index:
        shard, origin = Shard(int(index), int(count)), repr(text)
    elif number := environ.get("SLURM_ARRAY_TASK_ID") or environ.get("JOB_COMPLETION_INDEX"):
        origin = f"{text!r} in task {number} of this job array"
        try:
            if count is not None:
                shard = Shard(int(number), int(count))
            elif tasks := environ.get("SLURM_ARRAY_TASK_COUNT"):
                low, step = (
                    int(environ.get(f"SLURM_ARRAY_TASK_{name}", usual)) for name, usual in (("MIN", 0), ("STEP", 1))
                )
                shard = Shard((int(number) - low) // step, int(tasks))
            else:
                raise UsageError(
                    "--shard auto knows the number of this task and not of how many: give it as auto/n, such as auto/8"
                )
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"--shard cannot be {origin}: {error}") from error
    else:
        raise UsageError(
            f"--shard cannot be {text!r} here: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; give i/n"
        )
    if not 0 <= shard.index < shard.count:
        raise UsageError(f"--shard cannot be {origin}: it is i/n with i from 0 to n-1, such as 0/4")
    return shard


class _NamedProblem(msgspec.Struct):
    """A line of JSON that names a problem, such as `taco-stream audit --out` writes; other fields are skipped."""

    problem_id: str
    exclude: bool = True


def _read_ids(path: Path) -> tuple[str, ...]:
    """The ids of a file, one a line; blank lines and lines that begin with # do not count.

    A line that begins with { is JSON with a `problem_id`, which is an id unless its `exclude` is false; of several
    such lines on one problem the last counts, and a torn last line is left out.
    """
    try:
        lines = read_small_file(path).decode("utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"the file of ids {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the file of ids {path} is not UTF-8 text") from error
    is_excluded: dict[str, bool] = {}
    for number, text in enumerate(lines, start=1):
        line = text.strip()
        if line.startswith("{"):
            if named := _parse_named_problem(line, f"{path}:{number}", may_be_torn=number == len(lines)):
                is_excluded[named.problem_id] = named.exclude
        elif line and not line.startswith("#"):
            is_excluded[line] = True
    return tuple(name for name, excluded in is_excluded.items() if excluded)


def _parse_named_problem(line: str, place: str, *, may_be_torn: bool) -> _NamedProblem | None:
    try:
        return msgspec.json.decode(line, type=_NamedProblem)
    except NOT_DECODED as error:
        if may_be_torn:  # an audit may be writing the file just now
            return None
        raise UsageError(f"{place} is not a line of JSON with a problem_id: {error}") from error
