"""Datasets of the Hugging Face hub: their files are fetched once, then read like local ones.

`BAAI/TACO` is published with a loading script that today's `datasets` refuses; its Arrow stream files are fetched by
name at a pinned revision, which needs no listing and so works offline once they are cached. Of any other dataset the
hub is asked which files the split has. No code of a dataset is ever run.

Downloads, resumption, the progress bar on stderr and the cache are `huggingface_hub`'s own: HF_HOME, HF_TOKEN,
HF_ENDPOINT and HF_HUB_OFFLINE have their usual meanings.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from taco_stream.errors import DatasetError, NoDatasetError
from taco_stream.hub_access import use_cache_alone_if_unreachable

_REFERENCE = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w./-]+))?(?:@([\w./-]+))?")
_FILE_NAME = re.compile(r"\.(?:jsonl?|gz|parquet|arrow|zip|csv|txt)$")


class Published(msgspec.Struct, frozen=True):
    """A dataset whose files are known by name: the revision taken unless another is asked for, and the splits."""

    revision: str
    files: Mapping[str, Sequence[str]]


PUBLISHED = {
    # The newest revision when this was written (README and tests updated June 2024, Parquet copies added).
    "BAAI/TACO": Published(
        revision="d593ed0a2becbbc952230bb89be09189bf1056dc",
        files={
            "test": ("test/data-00000-of-00001.arrow",),
            "train": tuple(f"train/data-{number:05}-of-00009.arrow" for number in range(9)),
        },
    )
}


class HubReference(msgspec.Struct, frozen=True):
    """A dataset's name on the hub, the revision asked for, and the folder of one of its configurations."""

    name: str
    revision: str | None = None
    folder: str = ""


def hub_reference(spec: str) -> HubReference | None:
    """`owner/name`, `owner/name/folder`, either with `@revision`; None if it can only be a path."""
    match = _REFERENCE.fullmatch(spec)
    if match is None or spec.startswith(".") or _FILE_NAME.search(spec):
        return None
    return HubReference(match[1], match[3], match[2] or "")


def fetch(reference: HubReference, split: str) -> Sequence[Path]:
    """The split's files on this machine, downloaded if need be. Raises `DatasetError` with the cause."""
    from huggingface_hub import hf_hub_download

    revision, files = _resolve(reference, split)
    # By the revision that was resolved, not the one that was named: a branch may move between two files.
    pinned = HubReference(reference.name, revision)
    return [
        Path(
            _ask_hub(
                pinned, partial(hf_hub_download, reference.name, file, repo_type="dataset", revision=revision), file
            )
        )
        for file in files
    ]


def hub_fingerprint(reference: HubReference, split: str) -> str:
    """Names the exact revision: the hub's revisions never change, so nothing is read."""
    revision, _ = _resolve(reference, split)
    folder = f"/{reference.folder}" if reference.folder else ""
    return f"hub:{reference.name}{folder}@{revision}:{split}"


def _resolve(reference: HubReference, split: str) -> tuple[str, Sequence[str]]:
    """The revision and the names of the split's files."""
    published = PUBLISHED.get(reference.name)
    if published is None:
        return _list_files(reference, split)
    if split not in published.files:
        raise DatasetError(f"{reference.name} has no split {split!r}, only {' and '.join(sorted(published.files))}")
    return reference.revision or published.revision, published.files[split]


def _list_files(reference: HubReference, split: str) -> tuple[str, Sequence[str]]:
    from huggingface_hub import HfApi

    info: Any = _ask_hub(reference, lambda: HfApi().dataset_info(reference.name, revision=reference.revision))
    names = [sibling.rfilename for sibling in info.siblings]
    files = files_of_split([name for name in names if name.startswith(reference.folder)], split)
    if not files:
        raise DatasetError(
            f"{reference.name} holds no JSON Lines, Parquet or Arrow files of a split {split!r}: "
            f"it has {', '.join(sorted(names)[:8])}"
        )
    # Folders are configurations of a dataset: parts or versions that were not meant to be taken together.
    folders = sorted({name.rpartition("/")[0] for name in files})
    if len(folders) > 1:
        raise DatasetError(
            f"{reference.name} has the split {split!r} in the folders {', '.join(folders)}: "
            f"name one, as {reference.name}/{folders[0]}"
        )
    return info.sha, files


def files_of_split(names: Sequence[str], split: str) -> Sequence[str]:
    """The files that a split consists of, of one format only if a repository holds copies in several."""
    named = re.compile(rf"(?:^|[/_-]){re.escape(split)}(?:[/._-]|$)")
    for suffixes in ((".parquet",), (".jsonl", ".jsonl.gz"), (".arrow",)):
        files = sorted(name for name in names if name.endswith(suffixes) and named.search(name))
        if files:
            return files
    return []


def _ask_hub(reference: HubReference, ask: Any, file: str = "") -> Any:
    """The hub's answer. Its many errors become one sentence each."""
    from huggingface_hub import errors

    what = f"{reference.name}@{reference.revision}" if reference.revision else reference.name
    use_cache_alone_if_unreachable()
    try:
        return ask()
    except errors.GatedRepoError as error:
        raise DatasetError(f"{what} is gated: accept its terms on the hub and set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise NoDatasetError(
            f"there is no file {what}, and no such dataset on the hub (HF_TOKEN shows private ones)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DatasetError(f"{reference.name} has no revision {reference.revision}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise DatasetError(f"{what} has no file {file}") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise DatasetError(
            f"{' '.join(filter(None, (what, file)))} is not in the local cache and the hub cannot be reached; "
            "download it once with a connection, or name a local file"
        ) from error
    # The HTTP library differs between versions of huggingface_hub; its base error is always importable from there.
    except (errors.HFValidationError, errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{what} cannot be fetched from the hub: {first_line}") from error
