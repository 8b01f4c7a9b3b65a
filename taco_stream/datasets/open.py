"""From the name of a dataset to its problems, one at a time.

Faults of the source as a whole (no such file, another format, unknown columns) are raised by the call; a bad
row is met while iterating, and is fatal or handed to `on_bad_row` and skipped, as asked.
"""

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from taco_stream.datasets import apps, code_contests, eval_plus, human_eval, live_code_bench, mbpp, taco
from taco_stream.datasets.hub import hub_fingerprint, hub_reference
from taco_stream.datasets.rows import Adapter, BadRow, RowError, Table
from taco_stream.datasets.selection import Selection, nearest_ids
from taco_stream.datasets.sources import DEMO, STANDARD_INPUT, find_files, open_tables, standard_input
from taco_stream.datasets.special_judges import read_special_judges
from taco_stream.datasets.spool import read_back, spool_problems
from taco_stream.errors import DatasetError, NoProblemError
from taco_stream.plug_ins import PlugIn, PlugInKind, find_plug_in
from taco_stream.types import Problem, SpecialJudge

ADAPTERS: tuple[Adapter, ...] = tuple(
    benchmark.ADAPTER for benchmark in (apps, code_contests, eval_plus, human_eval, live_code_bench, mbpp, taco)
)
"""Every benchmark that is understood, the most particular first."""

_EVERYTHING = Selection()


def open_dataset(
    spec: str,
    *,
    selection: Selection = _EVERYTHING,
    special_judges: Path | None = None,
    on_bad_row: Callable[[BadRow], None] | None = None,
) -> Iterator[Problem]:
    """The selected problems of `spec`: `demo`, `-`, a file, a folder, a dataset of the hub (`BAAI/TACO[@revision]`), or
    a plug-in's, `NAME[:ARGUMENT]`.

    Problems are read as they are asked for and none is kept; a shuffle, or a selection by id, reads the whole source
    first and keeps the selected problems in a temporary file. Ids are unique: a row that repeats one is a bad row.
    Without `on_bad_row` the first bad row raises `DatasetError`. So does a selection that leaves nothing, and an id
    asked for that does not exist, before the first problem.
    """
    classes = read_special_judges(special_judges) if special_judges else {}
    if (plug_in := find_dataset(spec)) is not None:
        provided = _provided_problems(plug_in, spec, selection.split)
        given = (_with_special_judge(problem, classes) for problem in provided)
        return _never_empty(_select(given, selection, spec), spec)
    files = () if spec == STANDARD_INPUT else find_files(spec, selection.split)
    tables: Sequence[Table] = open_tables(files) if files else [standard_input()]
    adapter = _adapter_for(tables[0])
    # All files now, not when they come: a stranger among them would end the run hours later.
    for table in open_tables(files[1:]):
        if missing := adapter.recognised_by - table.columns():
            raise DatasetError(
                f"{table.name} has no {', '.join(sorted(missing))}, unlike {files[0]} beside it: "
                "name one file, or put those that belong together into a folder of their own"
            )

    def raise_bad_row(bad_row: BadRow) -> None:
        raise DatasetError(f"{bad_row} (--skip-bad-rows leaves such rows out)")

    read = _problems(tables, adapter, on_bad_row or raise_bad_row)
    judged = (_with_special_judge(problem, classes) for problem in read)
    return _never_empty(_select(judged, selection, spec), spec)


def dataset_fingerprint(spec: str, *, split: str = "test") -> str:
    """Identifies a dataset, to see later whether it has changed: a digest of the names, sizes and contents of its
    files.

    Every byte of a local file is read, about a second per gigabyte, and every problem of a plug-in. A dataset of the
    hub is named by its revision. Standard input cannot be read twice and is only named.
    """
    if spec == STANDARD_INPUT:
        return "stdin"
    digest = hashlib.sha256()
    if (plug_in := find_dataset(spec)) is not None:
        for problem in _provided_problems(plug_in, spec, split):
            digest.update(msgspec.msgpack.encode(problem))
        return f"sha256:{digest.hexdigest()}"
    if not Path(spec).expanduser().exists() and (reference := hub_reference(spec)):
        return hub_fingerprint(reference, split)
    for path in find_files(spec, split):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.name}\0{file.tell()}\0{content}\n".encode())
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}"


def find_dataset(spec: str) -> PlugIn | None:
    """The plug-in that a spec names, `NAME` or `NAME:ARGUMENT`, if it names nothing else."""
    if spec in (DEMO, STANDARD_INPUT) or os.path.exists(os.path.expanduser(spec)) or hub_reference(spec):
        return None
    return find_plug_in(PlugInKind.DATASET, spec.partition(":")[0])


def _provided_problems(plug_in: PlugIn, spec: str, split: str) -> Iterator[Problem]:
    """The problems of a plug-in, which is called at once. Raises `DatasetError` for anything else, or an id twice."""
    given = plug_in.call(spec.partition(":")[2], split=split)

    def checked() -> Iterator[Problem]:
        seen: set[str] = set()
        for problem in plug_in.watch(given):
            if not isinstance(problem, Problem) or problem.problem_id in seen:
                is_problem = isinstance(problem, Problem)
                what = f"the id {problem.problem_id} twice" if is_problem else f"a {type(problem).__name__}"
                raise DatasetError(f"the plug-in {plug_in.entry.name} of {plug_in.distribution} yields {what}")
            seen.add(problem.problem_id)
            yield problem

    return checked()


def _adapter_for(table: Table) -> Adapter:
    columns = table.columns()
    for adapter in ADAPTERS:
        if adapter.recognised_by <= columns and not adapter.excluded_by & columns:
            return adapter
    found = ", ".join(sorted(columns)) or "none"
    required = ", ".join(sorted(taco.ADAPTER.recognised_by))
    others = ", ".join(adapter.name for adapter in ADAPTERS if adapter is not taco.ADAPTER)
    raise DatasetError(
        f"the columns of {table.name} are not those of a known dataset: found {found}; "
        f"required {required} (TACO's), or the columns of {others}"
    )


def _problems(tables: Iterable[Table], adapter: Adapter, on_bad_row: Callable[[BadRow], None]) -> Iterator[Problem]:
    """Every problem of every table in order; positions count rows over all tables, bad ones included."""
    rows = itertools.chain.from_iterable(table.rows(adapter.reads) for table in tables)
    seen: set[str] = set()
    # Bad rows count as well, so that a problem without an id of its own keeps its number whatever is skipped.
    for position, row in enumerate(rows):
        if isinstance(row, BadRow):
            on_bad_row(row)
            continue
        try:
            problem = adapter.parse_problem(row.values, position)
        except RowError as error:
            on_bad_row(BadRow(row.location, str(error)))
            continue
        except RecursionError:
            on_bad_row(BadRow(row.location, "a value is nested too deeply"))
            continue
        # Everything is kept by id: two problems under one would be one problem with the samples of both.
        if problem.problem_id in seen:
            on_bad_row(BadRow(row.location, f"the id {problem.problem_id} has been used by an earlier row"))
            continue
        seen.add(problem.problem_id)
        yield problem


def _with_special_judge(problem: Problem, classes: Mapping[int, SpecialJudge]) -> Problem:
    # The list counts rows of TACO's test split. A part of the split keeps the number in its ids (`17`, `taco/17`);
    # ids without one are those of the whole split, in which the row is the position.
    number = problem.problem_id.rpartition("/")[2]
    row = int(number) if number.isascii() and number.isdecimal() else problem.position
    special_judge = classes.get(row)
    return problem if special_judge is None else msgspec.structs.replace(problem, special_judge=special_judge)


def _select(problems: Iterable[Problem], selection: Selection, spec: str) -> Iterator[Problem]:
    if selection.shuffle_seed is not None or selection.ids:
        chosen = _reorder(problems, selection, spec)
    else:
        chosen = filter(selection.admits, problems)
    limited = itertools.islice(chosen, selection.limit)
    if selection.shard is None:
        yield from limited
    else:
        yield from itertools.islice(limited, selection.shard.index, None, selection.shard.count)


def _reorder(problems: Iterable[Problem], selection: Selection, spec: str) -> Iterator[Problem]:
    ids: set[str] = set()
    found: set[str] = set()

    def noting_ids() -> Iterator[Problem]:
        for problem in problems:
            ids.add(problem.problem_id)
            if selection.admits(problem):
                found.add(problem.problem_id)
                yield problem

    # On disk: a shuffle needs all problems before the first one, and a dataset may not fit into memory.
    file, spans = spool_problems(noting_ids())
    if selection.ids and (missing := [name for name in selection.ids if name not in found]):
        file.close()
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        unknown = [name for name in missing if name not in ids]
        near = nearest_ids(unknown[0], ids) if unknown else []
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise DatasetError(f"{spec} has no selected problem {', '.join(missing[:10])}{more}{hint}")
    if selection.shuffle_seed is not None:
        random.Random(selection.shuffle_seed).shuffle(spans)
    yield from read_back(file, spans)


def _never_empty(problems: Iterator[Problem], spec: str) -> Iterator[Problem]:
    is_empty = True
    for problem in problems:
        is_empty = False
        yield problem
    if is_empty:
        raise NoProblemError(
            f"the selection leaves no problem of {spec}: taco-stream dataset counts the names that it can select by"
        )
