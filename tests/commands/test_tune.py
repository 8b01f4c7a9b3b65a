"""`tune`: what is measured, printed and written; with a scripted engine, whose speed a choice decides."""

import io
import tomllib
from pathlib import Path

import pytest
from command_line import CommandLine, command_line
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from taco_stream.commands import tune
from taco_stream.commands.tune import Measured, measure, print_figures, settings_file, toml_value
from taco_stream.engine.base import Engine
from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import EngineError
from taco_stream.run.settings import RunSettings
from taco_stream.run.tuning import Choice, Measurement, Prospect, choose
from taco_stream.terminal import stderr_console

invoke = pytest.fixture(command_line)

SETTINGS = RunSettings.from_values(dataset="demo", limit=8, samples=10, unsafe_no_sandbox=True, temperature=0.8)


@pytest.mark.anyio
async def test_each_choice_is_measured_and_the_fastest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "available_cores", lambda: 2)
    made: list[tuple[int | None, int | None]] = []

    def make_engine(model: ModelSettings) -> Engine:
        made.append((model.threads, model.batch_size))
        programs = tuple(f"print({number})\n" for number in range(80))
        return ScriptedEngine(Script(texts=programs, seconds=0.1 / (model.threads or 1), rows=model.batch_size or 4))

    measured = await measure(SETTINGS, stderr_console(is_quiet=True), seconds=0.4, make_engine=make_engine)
    assert made == [(2, None), (1, None), (2, 2)]
    two, one, fewer_rows = (each.measurement.tokens_per_second for each in measured.prospects)
    assert 1.4 < two / one < 2.8
    assert 1.4 < two / fewer_rows < 2.8
    assert [each.measurement.rows for each in measured.prospects] == [4, 4, 2]
    assert choose(measured.prospects).measurement.choice == Choice(2, None)
    assert [*measured.judged_per_second] == [1, 2]
    assert all(rate > 0 for rate in measured.judged_per_second.values())


@pytest.mark.anyio
async def test_given_numbers_are_the_only_ones_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends sooner than it can be looked at is measured as a whole; one without a token cannot be."""
    monkeypatch.setattr(tune, "available_cores", lambda: 2)
    settings = RunSettings.from_values(
        dataset="demo", limit=2, samples=2, threads=3, batch_size=5, workers=1, unsafe_no_sandbox=True
    )
    quiet = stderr_console(is_quiet=True)
    made: list[ModelSettings] = []

    def make_engine(model: ModelSettings) -> Engine:
        made.append(model)
        return ScriptedEngine(Script(texts=("x" if len(made) == 1 else "",), seconds=0.05, rows=5))

    measured = await measure(settings, quiet, seconds=1, make_engine=make_engine)
    assert [(each.measurement.choice, each.measurement.rows) for each in measured.prospects] == [(Choice(3, 5), 5)]
    assert [*measured.judged_per_second] == [1]
    with pytest.raises(EngineError, match="nothing was generated that could be measured"):
        await measure(settings, quiet, seconds=1, make_engine=make_engine)


def test_the_figures_are_printed_with_the_choice() -> None:
    out = io.StringIO()
    slow, fast = (
        Prospect(Measurement(Choice(2, None), 32, 194.0), 4.63),
        Prospect(Measurement(Choice(1, 16), 16, 1288.0), 30.67),
    )
    print_figures(Measured([slow, fast], {1: 55.1, 2: 103.3}), fast, Console(file=out, width=100))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["2", "32", "194", "4.63"] in lines
    assert ["1", "16", "1,288", "30.67", "chosen"] in lines
    assert ["2", "103.3"] in lines


def test_without_a_program_the_report_says_that_judging_is_not_known() -> None:
    out = io.StringIO()
    only = Prospect(Measurement(Choice(None, None), 256, 9000.0), None)
    print_figures(Measured([only], {}), only, Console(file=out, width=100))
    assert ["–", "256", "9,000", "–", "chosen"] in [line.split() for line in out.getvalue().splitlines()]
    assert "judging is taken to cost nothing" in out.getvalue()


def test_the_file_holds_the_given_settings_and_the_choice(tmp_path: Path) -> None:
    given = RunSettings.from_values(
        model="a/b", dataset="demo", samples=3, k=(1, 3), system='say "hi"\n', threads=4, reproducible=True
    )
    path = tmp_path / "tuned.toml"
    path.write_text(settings_file(given, Choice(4, 16)), encoding="utf-8")
    again = RunSettings.resolve({}, path, environ={})
    assert again.values() == given.values() | {"batch_size": 16}
    assert path.read_text(encoding="utf-8").startswith("# Written by `taco-stream tune` on ")


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.integers(-(2**63), 2**63 - 1))
def test_any_value_can_be_written(value: str | bool | int) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}\ny = {toml_value([value])}") == {"x": value, "y": [value]}


def test_a_file_that_exists_is_not_written_over(tmp_path: Path, invoke: CommandLine) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text("mine", encoding="utf-8")
    answer = invoke("tune", path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.sentences == [
        f"taco-stream: {path} exists: name another file for the settings, or remove it",
    ]
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_folder_that_does_not_exist_is_found_before_anything_is_measured(tmp_path: Path, invoke: CommandLine) -> None:
    answer = invoke("tune", tmp_path / "none" / "tuned.toml")
    assert answer.code == 2
    assert answer.sentences == [f"taco-stream: there is no folder {tmp_path / 'none'} to write the settings to"]


def test_only_a_model_that_is_run_here_can_be_tuned(tmp_path: Path, invoke: CommandLine) -> None:
    config = tmp_path / "served.toml"
    config.write_text('engine = "server"\nserver = "http://localhost:1"\n', encoding="utf-8")
    answer = invoke("tune", tmp_path / "tuned.toml", "--config", config)
    assert answer.code == 2
    assert "needs --engine local" in answer.sentences[0]


def test_a_dataset_that_does_not_exist_is_refused_before_a_model_is_loaded(tmp_path: Path, invoke: CommandLine) -> None:
    answer = invoke("tune", tmp_path / "tuned.toml", "--dataset", tmp_path / "none.jsonl")
    assert answer.code == 2
    assert not (tmp_path / "tuned.toml").exists()


def test_an_interrupt_writes_nothing(tmp_path: Path, invoke: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Measured:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "measure", interrupted)
    answer = invoke("tune", tmp_path / "tuned.toml")
    assert answer.code == 130
    assert "interrupted; nothing was written" in answer.err
    assert not (tmp_path / "tuned.toml").exists()
