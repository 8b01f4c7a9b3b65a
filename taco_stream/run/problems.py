"""The problems of a run: those that its settings select, as often as somebody reads them."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import read_selection
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.datasets.sources import STANDARD_INPUT
from taco_stream.errors import DatasetError
from taco_stream.readable_file import open_readable
from taco_stream.types import Problem


def with_readable_dataset(settings: DatasetSettings, opened: ExitStack) -> DatasetSettings:
    """The settings with a dataset that can be read more than once.

    Standard input and pipes, such as `<(zcat problems.jsonl.gz)`, are kept in a temporary file. Raises `DatasetError`
    if one cannot be read.
    """
    source = Path(settings.dataset).expanduser()
    try:
        if settings.dataset == STANDARD_INPUT:
            stream = cast(BufferedReader, sys.stdin.buffer)
        elif source.is_fifo():
            stream = opened.enter_context(open_readable(source))
        else:
            return settings
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="taco-stream-"))
        path = Path(folder) / "standard-input"  # always this name, which is part of a dataset's fingerprint
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except OSError as error:
        raise DatasetError(f"{settings.dataset} cannot be read: {error.strerror}") from error
    return msgspec.structs.replace(settings, dataset=str(path))


def problem_source(settings: DatasetSettings, console: Console) -> Callable[[], Iterator[Problem]]:
    """Yields the selected problems, any number of times. Raises at once if the dataset as a whole is at fault.

    Rows that are skipped are named on the console, each once.
    """
    selection = read_selection(settings)
    named: set[str] = set()

    def name_row(bad_row: object) -> None:
        if str(bad_row) not in named:
            named.add(str(bad_row))
            console.print(f"skipped: {bad_row}", style="yellow", soft_wrap=True)

    def problems() -> Iterator[Problem]:
        return open_dataset(
            settings.dataset,
            selection=selection,
            special_judges=Path(settings.special_judges) if settings.special_judges else None,
            on_bad_row=name_row if settings.skip_bad_rows else None,
        )

    problems()
    return problems


def selected_ids(settings: DatasetSettings) -> list[str]:
    """The ids of the selected problems in their order; reads the whole dataset."""
    selection = read_selection(settings)
    skip = (lambda _: None) if settings.skip_bad_rows else None
    return [problem.problem_id for problem in open_dataset(settings.dataset, selection=selection, on_bad_row=skip)]
