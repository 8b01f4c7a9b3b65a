"""The command `push`: a run as a dataset repository of the hub, and its score as a pull request to its model.

The repository holds the summary, the settings and a table of the samples without programs, which are left out unless
asked for: they are the model's, and may be long or not for everybody. Everything goes up in one commit, so a push that
fails leaves the repository as it was. A model's page is never written to: its owner accepts the pull request, or not.
"""

import datetime
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import pyarrow.parquet

from taco_stream.commands.report import count_records, read_run, sum_up
from taco_stream.datasets.hub import hub_reference
from taco_stream.errors import TrackerError, UsageError
from taco_stream.formats.parquet_table import records_table
from taco_stream.report.summary import Summary
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RunFiles, run_name
from taco_stream.terminal import stderr_console

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TABLE = "data/results.parquet"

WITHOUT_PROGRAMS = ("program", "output_head", "detail")
"""What a column must not end with unless programs are wanted: a verdict may quote what a program printed."""

ENGINE = ("engine",)
"""A column that names the model's folder in each row; the settings have all else that it says."""

PRIVATE = (
    *("verdict_cache", "checkers_folder", "exclude", "special_judges", "few_shot", "reuse"),  # of this machine's disk
    *("api_key_env", "server", "ray"),
)
"""Settings that are not published."""

T = TypeVar("T")


def push_run(path: Path, repository: str, *, private: bool, with_programs: bool, model: str | None) -> str:
    """Writes the run to the dataset repository, which is made; the address of the commit.

    If `model` names a model's repository, opens a pull request with the score there. Raises `StoreError` if there is no
    run, `UsageError` if it has no score or its dataset cannot have one on the hub, and `TrackerError` if the hub
    refuses or cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import HfApi

    files, settings = read_run(path, None, ())
    summary = sum_up(count_records(files), files, settings)
    if not summary.pass_at_k:
        raise UsageError(f"{path} has no scored sample yet, so there is nothing to push")
    benchmark = hub_reference(str(files.manifest.settings.get("dataset")))
    if model is not None and benchmark is None:
        raise UsageError("a model's page shows scores on datasets of the hub, and the run's problems are not one")
    if model is not None and not hasattr(huggingface_hub, "EvalResultEntry"):
        raise UsageError("--model needs a newer huggingface_hub: pip install --upgrade huggingface_hub")
    api = HfApi(library_name="taco-stream")
    with tempfile.TemporaryDirectory(prefix="taco-stream-push-") as scratch:
        folder = Path(scratch)
        write_folder(files, summary, folder, with_programs=with_programs)
        _asked(lambda: api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True))
        commit = _asked(
            lambda: api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                repo_type="dataset",
                commit_message=f"Add the run {run_name(path)}",
            )
        )
    if model is not None and benchmark is not None:
        source = f"{api.endpoint}/datasets/{repository}"
        request = _asked(
            lambda: propose_score(api, model, benchmark.name, manifest=files.manifest, summary=summary, source=source)
        )
        stderr_console().print(f"proposed the score to {model}: {request}", soft_wrap=True)
    return str(commit.commit_url)


def write_folder(files: RunFiles, summary: Summary, folder: Path, *, with_programs: bool) -> None:
    """Writes what the repository is to hold: a card, the summary, the settings and the table."""
    table = records_table(files.records())
    left_out = ENGINE if with_programs else (*ENGINE, *WITHOUT_PROGRAMS)
    table = table.select([name for name in table.column_names if not name.endswith(left_out)])
    (folder / TABLE).parent.mkdir()
    pyarrow.parquet.write_table(table, folder / TABLE)
    whole = files.manifest
    shown = {"settings": public_settings(whole.settings), "results": public_settings(whole.results)}
    manifest = msgspec.structs.replace(whole, **shown)
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    (folder / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    (folder / "README.md").write_text(write_card(manifest, summary), encoding="utf-8")


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without what is nobody's business: files and folders of this machine, keys, and addresses."""
    named = {name: public_name(str(settings[name])) for name in ("model", "dataset", "engine") if name in settings}
    return {name: value for name, value in {**settings, **named}.items() if name not in PRIVATE}


def public_name(text: str) -> str:
    """A model, dataset or engine without the folder that it is in; what the hub has keeps its owner."""
    kind, colon, path = text.partition(":")
    if colon and kind in ("replay", "scripted"):
        return f"{kind}:{Path(path).name}"
    return text if hub_reference(text) else Path(urlsplit(text).path).name


def write_card(manifest: Manifest, summary: Summary) -> str:
    """The card: a table of scores, and where they come from."""
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        tags=["taco-stream", "evaluation"],
        configs=[{"config_name": "default", "data_files": TABLE}],
    )
    dataset, model = (public_name(str(each)) for each in (manifest.settings.get("dataset"), manifest.answered_by))
    judge = f"taco-stream {manifest.versions.get('taco-stream', '')} in the mode `{summary.mode}`"
    lines = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {model} on {dataset}\n",
        f"{summary.coverage.samples:,} samples of {summary.coverage.problems:,} problems, judged by {judge}.\n",
        "| | score | 95 % interval |\n|---|---|---|",
        *(
            f"| pass@{k} | {each.value:.4f} | {each.low:.4f} to {each.high:.4f} |"
            for k, each in summary.pass_at_k.items()
        ),
        "\n`summary.json` has all counts, `run.json` the settings, the table a row for each sample.\n",
    ]
    return "\n".join(lines)


def propose_score(
    api: "HfApi", model: str, benchmark: str, *, manifest: Manifest, summary: Summary, source: str
) -> str:
    """Opens a pull request at a model with its smallest pass@k; its address."""
    from huggingface_hub import CommitOperationAdd, EvalResultEntry, eval_result_entries_to_yaml

    k, estimate = min(summary.pass_at_k.items())
    entry = EvalResultEntry(
        dataset_id=benchmark,
        task_id=f"pass@{k}",
        value=round(estimate.value, 6),
        date=datetime.datetime.fromtimestamp(manifest.created_at, datetime.UTC).isoformat(timespec="seconds"),
        source_url=source,
        source_name="taco-stream",
        notes=f"mode {summary.mode}, {summary.coverage.problems} problems",
    )
    # JSON is YAML, and no package for YAML is needed.
    content = msgspec.json.format(msgspec.json.encode(eval_result_entries_to_yaml([entry])))
    name = f".eval_results/{benchmark.replace('/', '_')}.yaml"
    commit = api.create_commit(
        model,
        [CommitOperationAdd(name, content)],
        commit_message=f"Add the score on {benchmark}",
        create_pr=True,
    )
    return str(commit.pr_url)


def _asked(call: Callable[[], T]) -> T:
    """The hub's answer. Raises `TrackerError` if there is none, or it refuses."""
    from huggingface_hub import errors

    try:
        return call()
    # The HTTP library differs between versions of huggingface_hub; its base error is always importable from there.
    except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
        reason = " ".join(str(error).split())
        raise TrackerError(f"the hub was not written to: {reason}; the run is not affected") from error
