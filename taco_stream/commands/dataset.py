"""The command `dataset`: statistics of its problems."""

from contextlib import ExitStack

from taco_stream.datasets.dataset_statistics import dataset_statistics, statistics_text
from taco_stream.run.problems import problem_source, with_readable_dataset
from taco_stream.run.settings import RunSettings
from taco_stream.terminal import stderr_console, write_out


def print_dataset(settings: RunSettings) -> None:
    """Prints counts and sizes of the selected problems, and a sample."""
    with ExitStack() as opened:
        problems = problem_source(with_readable_dataset(settings.dataset, opened), stderr_console())()
        write_out(statistics_text(dataset_statistics(problems)) + "\n")
