"""The manifest is honest about the machine."""

from taco_stream.store.manifest import git_commit, versions


def test_the_versions_of_what_changes_results_are_known() -> None:
    assert {"taco-stream", "python", "torch", "transformers"} <= set(versions())


def test_the_commit_is_a_hash_or_unknown() -> None:
    commit = git_commit()
    assert commit is None or len(commit) == 40
