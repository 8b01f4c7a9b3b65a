"""Flags that cannot be parsed are refused in one sentence, whether they are settings or not."""

import pytest

from taco_stream.cli import PANELS, app
from taco_stream.errors import UsageError
from taco_stream.run.settings import SETTINGS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run --mode strct", "--mode cannot be 'strct': it is strict, official or spj; did you mean 'strict'?"),
        ("run --samples ten", "--samples cannot be 'ten': it is a whole number"),
        ("run --k 1 --k ten", "--k cannot be 'ten': it is a whole number"),
        ("report x --mode strct", "--mode cannot be 'strct': it is strict, official or spj; did you mean 'strict'?"),
        ("report x --k ten", "--k cannot be 'ten': it is a whole number"),
        (
            "export x --format json",
            "--format cannot be 'json': it is taco, evalplus, livecodebench, parquet, inspect or the name of a plug-in",
        ),
    ],
)
def test_a_refused_flag_is_one_sentence_that_says_what_may_be_given(arguments: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        app(args=arguments.split(), standalone_mode=False)
    assert str(raised.value) == sentence


def test_the_help_says_every_default_and_what_belongs_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    app(args=["run", "--help"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS.values():
        assert setting.flag in said
        if setting.default not in (None, (), False):
            assert f"{setting.description.removesuffix('.')} (default: {setting.default})" in said
    assert [name for name in PANELS.values() if f"─ {name} ─" not in said] == []
    assert "--no-reproducible" not in said
