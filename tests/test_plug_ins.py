"""Plug-ins of other distributions: found if nothing else has the name, imported when used, and named if they fail."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taco_stream.commands.run import parse_engine
from taco_stream.datasets.open import dataset_fingerprint, open_dataset
from taco_stream.datasets.selection import Selection
from taco_stream.doctor.diagnosis import Level, diagnose_plug_ins
from taco_stream.doctor.readings import read_plug_ins
from taco_stream.errors import DatasetError, StoreError, UsageError
from taco_stream.formats import find_format
from taco_stream.plug_ins import PlugIn, PlugInKind, find_plug_in
from taco_stream.types import ExportFormat

MODULE = """
from taco_stream import Problem
from taco_stream.errors import StoreError

def problems(argument, *, split):
    for number in range(int(argument or 2)):
        yield Problem(problem_id=f"{split}/{number}", position=number, question="", tests="{}")

def same_id(argument, *, split):
    return [*problems("1", split=split)] * 2

def numbers(argument, *, split):
    return [1]

def breaks(*arguments, **named):
    raise LookupError("nothing there")

def breaks_late(argument, *, split):
    yield from problems("1", split=split)
    raise LookupError("nothing more there")

def refuses(*arguments, **named):
    raise StoreError("the disk is full")
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with the entry points `NAME = MODULE:FUNCTION` of one group."""

    def install(group: str, *entries: str, name: str = "fake", module: str = MODULE) -> Path:
        folder = tmp_path / name
        metadata = folder / f"{name}_taco-1.5.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{name}_taco.py").write_text(module)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-taco\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text("\n".join([f"[taco_stream.{group}]", *entries]))
        monkeypatch.syspath_prepend(folder)
        return folder

    yield install
    for name in [name for name in sys.modules if name.endswith("_taco")]:
        del sys.modules[name]


def test_a_dataset_of_a_plug_in_is_selected_from_like_any_other(install: Install) -> None:
    install("datasets", "mine = fake_taco:problems")
    assert [each.problem_id for each in open_dataset("mine")] == ["test/0", "test/1"]
    chosen = open_dataset("mine:9", selection=Selection(split="dev", limit=1, shuffle_seed=0))
    assert next(chosen).problem_id.startswith("dev/")
    assert dataset_fingerprint("mine:2") == dataset_fingerprint("mine") != dataset_fingerprint("mine:3")


def test_an_engine_of_a_plug_in_keeps_its_argument_as_it_is(install: Install) -> None:
    install("engines", "mine = fake_taco:problems")
    source = parse_engine("mine:http://there")
    assert (source.kind, source.argument) == ("mine", "http://there")
    assert source.plug_in is not None
    with pytest.raises(UsageError, match="or the name of a plug-in"):
        parse_engine("others")


def test_a_format_of_a_plug_in_is_found_by_its_name(install: Install) -> None:
    install("formats", "mine = fake_taco:problems")
    assert isinstance(find_format("mine"), PlugIn)
    with pytest.raises(UsageError, match="or the name of a plug-in"):
        find_format("others")


def test_no_plug_in_takes_the_place_of_what_is_there(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("{")
    install("datasets", "demo = fake_taco:breaks", "mine = fake_taco:breaks")
    install("engines", "local = also_taco:breaks", name="also")
    install("formats", "taco = third_taco:breaks", name="third")
    assert next(open_dataset("demo")).problem_id == "demo/001"
    with pytest.raises(DatasetError, match="mine"):
        open_dataset("mine")
    assert parse_engine("local").plug_in is None
    assert find_format("taco") is ExportFormat.TACO


def test_a_plug_in_is_not_imported_before_it_is_used(install: Install) -> None:
    install("datasets", "mine = fake_taco:problems", "broken = absent_taco:problems")
    assert find_plug_in(PlugInKind.DATASET, "mine") is not None
    assert find_plug_in(PlugInKind.ENGINE, "mine") is None
    with suppress(DatasetError):
        open_dataset("others")
    assert "fake_taco" not in sys.modules


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fake_taco:breaks", r"the plug-in mine of fake-taco 1.5 failed: LookupError\('nothing there'\)"),
        ("fake_taco:breaks_late", r"fake-taco 1.5 failed: LookupError\('nothing more there'\)"),
        ("fake_taco:absent", "fake-taco 1.5 failed: AttributeError"),
        ("absent_taco:problems", "fake-taco 1.5 failed: ModuleNotFoundError"),
    ],
)
def test_a_plug_in_that_fails_is_named_with_its_distribution(install: Install, function: str, says: str) -> None:
    install("datasets", f"mine = {function}")
    with pytest.raises(UsageError, match=says):
        list(open_dataset("mine"))


def test_an_error_of_ours_that_a_plug_in_raises_stays_what_it_is(install: Install) -> None:
    install("formats", "mine = fake_taco:refuses")
    plug_in = find_format("mine")
    assert isinstance(plug_in, PlugIn)
    with pytest.raises(StoreError, match="the disk is full"):
        plug_in.call([], Path(), mode=None)


@pytest.mark.parametrize(("function", "says"), [("same_id", "the id test/0 twice"), ("numbers", "yields a int")])
def test_a_dataset_that_breaks_its_promise_is_refused(install: Install, function: str, says: str) -> None:
    install("datasets", f"mine = fake_taco:{function}")
    with pytest.raises(DatasetError, match=says):
        list(open_dataset("mine"))


def test_one_name_in_two_distributions_is_refused(install: Install) -> None:
    install("engines", "mine = fake_taco:problems")
    install("engines", "mine = also_taco:problems", name="also")
    with pytest.raises(UsageError, match=r"in also-taco 1.5 and fake-taco 1.5: uninstall all but one"):
        parse_engine("mine")


def test_the_doctor_lists_plug_ins_and_says_which_cannot_be_imported(install: Install) -> None:
    install("engines", "mine = fake_taco:problems", "broken = absent_taco:problems")
    broken, working = diagnose_plug_ins(read_plug_ins())
    assert (broken.level, working.level) == (Level.NOTE, Level.OK)
    assert "engine broken of fake-taco 1.5 cannot be imported: ModuleNotFoundError" in broken.text
    assert working.text == "engine mine of fake-taco 1.5"
    assert diagnose_plug_ins({}) == []
