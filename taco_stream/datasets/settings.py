"""Which problems to take: a group of `taco_stream.settings`."""

from typing import Annotated

import msgspec

from taco_stream.settings import setting


class DatasetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset, and which of its problems to take (`selection`)."""

    dataset: Annotated[
        str,
        setting(
            "Problems: a file, a folder, - for standard input, a hub id, 'demo', or a plug-in.",
            changes_results=True,
            min_length=1,
        ),
    ] = "demo"
    limit: Annotated[int | None, setting("At most this many problems.", changes_results=True, ge=1)] = None
    difficulty: Annotated[tuple[str, ...], setting("Only this difficulty; repeatable.", changes_results=True)] = ()
    skill: Annotated[tuple[str, ...], setting("Only problems with this skill; repeatable.", changes_results=True)] = ()
    tag: Annotated[tuple[str, ...], setting("Only problems with this tag; repeatable.", changes_results=True)] = ()
    source: Annotated[tuple[str, ...], setting("Only problems of this source; repeatable.", changes_results=True)] = ()
    ids: Annotated[tuple[str, ...], setting("Only the problem with this id; repeatable.", changes_results=True)] = ()
    exclude: Annotated[
        str | None, setting("File of problem ids to exclude, or an `audit --out` file.", changes_results=True)
    ] = None
    shuffle: Annotated[int | None, setting("Shuffle the problems with this seed.", changes_results=True)] = None
    shard: Annotated[
        str | None,
        setting("i/n: the i-th of n equal parts, from 0; auto, auto/n: of a job array.", changes_results=True),
    ] = None
    split: Annotated[str, setting("Split of a hub dataset.", changes_results=True)] = "test"
    special_judges: Annotated[
        str | None, setting("The published output_spj.jsonl of TACO's test problems.", changes_results=True)
    ] = None
    skip_bad_rows: Annotated[bool, setting("Report and skip rows that cannot be read.", changes_results=True)] = False


SELECTING = ("limit", "difficulty", "skill", "tag", "source", "ids", "exclude", "shuffle", "shard")
"""The settings that choose among the problems of a dataset: a run may be resumed with others that choose more."""
