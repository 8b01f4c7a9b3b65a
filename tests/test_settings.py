"""Settings are resolved in one order and refuse what they do not know."""

from pathlib import Path

import pytest

from taco_stream.errors import UsageError
from taco_stream.run.settings import SETTINGS, RunSettings


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "temperature = 0.1\ntop_k = 1\nseed = 1\n")
    environ = {"TACO_STREAM_TEMPERATURE": "0.2", "TACO_STREAM_TOP_K": "2", "PATH": "/bin"}
    settings = RunSettings.resolve({"temperature": 0.3, "seed": None}, file, environ)
    assert (settings.sampling.temperature, settings.sampling.top_k, settings.samples.seed) == (0.3, 2, 1)
    assert settings.sampling.top_p == 0.95


def test_repeatable_settings_are_split_at_commas_in_the_environment() -> None:
    assert RunSettings.resolve({}, environ={"TACO_STREAM_K": "1,10"}).samples.k == (1, 10)


def test_a_repeatable_flag_not_given_leaves_the_lower_layer(tmp_path: Path) -> None:
    assert RunSettings.resolve({"k": []}, written(tmp_path, "k = [5]"), {}).samples.k == (5,)


@pytest.mark.parametrize(
    ("flags", "named"),
    [({"temperature": -1}, "--temperature"), ({"top_p": 1.5}, "--top-p"), ({"mode": "loose"}, "--mode")],
)
def test_a_value_out_of_range_names_its_flag(flags: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        RunSettings.resolve(flags, environ={})


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"mode": "strct"}, "--mode cannot be 'strct': it is strict, official or spj; did you mean 'strict'?"),
        ({"mode": 7}, "--mode cannot be 7: it is strict, official or spj"),
        ({"samples": "many"}, "--samples cannot be 'many': it is a whole number"),
        ({"temperature": -1}, "--temperature cannot be -1: it is a number >= 0.0"),
        ({"failures_first": "maybe"}, "--failures-first cannot be 'maybe': it is true or false"),
        ({"k": ["ten"]}, "--k cannot be 'ten': it is a whole number"),
    ],
)
def test_a_refused_value_is_one_sentence_that_says_what_may_be_given(flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        RunSettings.resolve(flags, environ={})
    assert str(raised.value) == sentence


def test_an_unknown_variable_suggests_the_nearest_setting() -> None:
    with pytest.raises(UsageError, match=r"TACO_STREAM_TEMPERATUR is not a setting; did you mean 'temperature'"):
        RunSettings.resolve({}, environ={"TACO_STREAM_TEMPERATUR": "1"})


def test_variables_of_the_sandbox_are_not_taken_for_settings() -> None:
    RunSettings.resolve({}, environ={"TACO_STREAM_SANDBOX": "rlimits", "TACO_STREAM_CGROUP": "/sys/fs/cgroup/x"})


def test_an_unknown_key_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'sampels' of .*run.toml is not a setting; did you mean 'samples'"):
        RunSettings.resolve({}, written(tmp_path, "sampels = 3"), {})


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run.toml is not TOML"):
        RunSettings.resolve({}, written(tmp_path, "samples = "), {})
    with pytest.raises(UsageError, match="cannot be read"):
        RunSettings.resolve({}, tmp_path / "none.toml", {})


def test_every_setting_describes_itself() -> None:
    assert all(setting.description.endswith(".") for setting in SETTINGS.values())


def test_conduct_may_differ_between_starts_and_results_may_not() -> None:
    one, other = RunSettings(), RunSettings.from_values(batch_size=7, workers=3, k=(5,), samples=99)
    assert one.results() == other.results()
    assert one.results() != RunSettings.from_values(temperature=0.9).results()
