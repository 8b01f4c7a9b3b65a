"""Datasets of the hub, with a cache that the tests fill: nothing here uses the network."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors
from taco_rows import taco_row, write_arrow

from taco_stream.datasets.hub import PUBLISHED, HubReference, files_of_split, hub_reference
from taco_stream.datasets.open import dataset_fingerprint, open_dataset
from taco_stream.datasets.selection import Selection
from taco_stream.errors import DatasetError

Download = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that has every Arrow file asked for, with one row in each; returns what was asked of it."""
    asked: list[dict[str, Any]] = []

    def download(name: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append({"name": name, "file": file, "repo_type": repo_type, "revision": revision})
        path = tmp_path / file.replace("/", "-")
        write_arrow(path, [taco_row(len(asked))])
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


@pytest.fixture
def failing_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Makes every question to the hub raise the given error."""

    def fail_with(error: Exception) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)

    return fail_with


def hub_error(kind: type[errors.HfHubHTTPError]) -> errors.HfHubHTTPError:
    response = SimpleNamespace(headers={}, request=None)
    return kind("a long message\nover lines", response=response)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        ("BAAI/TACO", HubReference("BAAI/TACO")),
        ("owner/mbpp/full", HubReference("owner/mbpp", None, "full")),
        ("owner/mbpp/full@v1", HubReference("owner/mbpp", "v1", "full")),
        ("BAAI/TACO@main", HubReference("BAAI/TACO", "main")),
        ("BAAI/TACO@refs/pr/2", HubReference("BAAI/TACO", "refs/pr/2")),
        ("data/problems.jsonl", None),
        ("data/problems.parquet", None),
        ("problems", None),
        ("./data/problems", None),
        ("/data/problems", None),
    ],
)
def test_a_dataset_of_the_hub_is_told_from_a_path(spec: str, reference: HubReference | None) -> None:
    assert hub_reference(spec) == reference


def test_taco_is_fetched_by_name_at_the_pinned_revision(hub: list[dict[str, Any]]) -> None:
    (problem,) = open_dataset("BAAI/TACO")
    assert problem.question == "Question 1?"
    assert hub == [
        {
            "name": "BAAI/TACO",
            "file": "test/data-00000-of-00001.arrow",
            "repo_type": "dataset",
            "revision": PUBLISHED["BAAI/TACO"].revision,
        }
    ]


def test_tacos_training_split_is_nine_files_read_as_one(hub: list[dict[str, Any]]) -> None:
    problems = list(open_dataset("BAAI/TACO", selection=Selection(split="train")))
    assert [problem.position for problem in problems] == list(range(9))
    assert [question["file"] for question in hub] == [f"train/data-{number:05}-of-00009.arrow" for number in range(9)]


def test_a_revision_asked_for_is_the_one_fetched(hub: list[dict[str, Any]]) -> None:
    open_dataset("BAAI/TACO@main")
    assert hub[0]["revision"] == "main"


def test_an_unknown_split_is_refused_before_anything_is_fetched(hub: list[dict[str, Any]]) -> None:
    with pytest.raises(DatasetError, match="has no split 'validation', only test and train"):
        open_dataset("BAAI/TACO", selection=Selection(split="validation"))
    assert hub == []


def test_a_local_folder_of_the_same_name_comes_first(
    hub: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "BAAI" / "TACO").mkdir(parents=True)
    write_arrow(tmp_path / "BAAI" / "TACO" / "test.arrow", [taco_row(7)])
    monkeypatch.chdir(tmp_path)
    assert [problem.question for problem in open_dataset("BAAI/TACO")] == ["Question 7?"]
    assert hub == []


def test_fingerprint_names_the_revision_without_fetching(hub: list[dict[str, Any]]) -> None:
    assert dataset_fingerprint("BAAI/TACO") == f"hub:BAAI/TACO@{PUBLISHED['BAAI/TACO'].revision}:test"
    assert hub == []


@pytest.fixture
def listing(hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset with two configurations, one of which also has a training split."""
    names = ("README.md", "full/test-0.arrow", "full/train-0.arrow", "sanitized/test-0.arrow")
    info = SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename=name) for name in names])
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, revision: info)


@pytest.mark.usefixtures("listing")
def test_other_datasets_are_listed_first(hub: list[dict[str, Any]]) -> None:
    assert len(list(open_dataset("someone/problems", selection=Selection(split="train")))) == 1
    assert (hub[0]["file"], hub[0]["revision"]) == ("full/train-0.arrow", "abc")


@pytest.mark.usefixtures("listing")
def test_a_split_in_several_folders_asks_for_one() -> None:
    with pytest.raises(DatasetError, match="in the folders full, sanitized: name one, as someone/problems/full"):
        open_dataset("someone/problems")


@pytest.mark.usefixtures("listing")
def test_a_folder_of_a_dataset_is_one_configuration(hub: list[dict[str, Any]]) -> None:
    assert len(list(open_dataset("someone/problems/sanitized"))) == 1
    assert [question["file"] for question in hub] == ["sanitized/test-0.arrow"]
    assert dataset_fingerprint("someone/problems/sanitized") == "hub:someone/problems/sanitized@abc:test"


@pytest.mark.usefixtures("listing")
def test_a_split_that_no_file_is_named_after_lists_the_files() -> None:
    with pytest.raises(DatasetError, match=r"of a split 'validation': it has README\.md, full/test-0\.arrow"):
        open_dataset("someone/problems", selection=Selection(split="validation"))


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["ALL/test-00000-of-00001.parquet", "test/data-00000-of-00001.arrow"], ["ALL/test-00000-of-00001.parquet"]),
        (["test.jsonl", "test2.jsonl", "train.jsonl"], ["test.jsonl"]),
        (["data/test-1.parquet", "data/test-0.parquet", "latest.parquet"], ["data/test-0.parquet", "data/test-1.parquet"]),
        (["README.md", "contest.parquet"], []),
    ],
)  # fmt: skip
def test_files_of_a_split(names: list[str], files: list[str]) -> None:
    assert files_of_split(names, "test") == files


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (hub_error(errors.GatedRepoError), "is gated: accept its terms"),
        (hub_error(errors.RepositoryNotFoundError), "no such dataset on the hub"),
        (hub_error(errors.RevisionNotFoundError), "has no revision r"),
        (hub_error(errors.RemoteEntryNotFoundError), r"has no file test/data"),
        (errors.LocalEntryNotFoundError("x"), "is not in the local cache"),
        (errors.OfflineModeIsEnabled("x"), "is not in the local cache"),
        (hub_error(errors.HfHubHTTPError), "cannot be fetched from the hub: a long message$"),
        (errors.HTTPError("no route"), "cannot be fetched from the hub: no route"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    failing_hub: Callable[[Exception], None], error: Exception, sentence: str
) -> None:
    failing_hub(error)
    with pytest.raises(DatasetError, match=sentence) as caught:
        open_dataset("BAAI/TACO@r")
    assert "\n" not in str(caught.value)


def test_offline_mode_finds_what_the_cache_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = PUBLISHED["BAAI/TACO"].revision
    snapshot = tmp_path / "datasets--BAAI--TACO" / "snapshots" / revision / "test"
    snapshot.mkdir(parents=True)
    write_arrow(snapshot / "data-00000-of-00001.arrow", [taco_row(3)])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert [problem.question for problem in open_dataset("BAAI/TACO")] == ["Question 3?"]
