"""The shell completes commands and flags."""

import os
import subprocess
import sys


def complete(words: str) -> list[str]:
    typed = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    asked = {**os.environ, "_TACO_STREAM_COMPLETE": "complete_bash", **typed}
    command = [sys.executable, "-m", "taco_stream"]
    return subprocess.run(command, env=asked, check=True, capture_output=True, text=True, timeout=550).stdout.split()


def test_commands_and_flags_are_completed() -> None:
    assert {"run", "report"} <= set(complete("taco-stream r"))
    assert complete("taco-stream run --temp") == ["--temperature"]
