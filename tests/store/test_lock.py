"""Looking whether a lock is held disturbs neither its holder nor whoever wants it."""

import threading
from pathlib import Path

import pytest

from taco_stream.errors import RunInUseError
from taco_stream.store.lock import exclusive, is_held


def test_a_lock_is_held_while_it_is(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with exclusive(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(RunInUseError), exclusive(tmp_path):
            pass
    assert not is_held(tmp_path)


def test_looking_makes_no_file(tmp_path: Path) -> None:
    is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_can_be_taken_while_others_keep_looking(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        pass
    is_done = threading.Event()

    def look() -> None:
        while not is_done.is_set():
            is_held(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            with exclusive(tmp_path):
                pass
    finally:
        is_done.set()
        looking.join()
