"""Where stop strings cut a text: before the earliest match of all of them, which is how TACO's `generation.py` trims.

One rule for every engine, whether it watches tokens as they are drawn or is handed a whole text by a server.
"""

import re
from functools import lru_cache


@lru_cache(maxsize=64)
def stop_pattern(stop_strings: tuple[str, ...]) -> re.Pattern[str] | None:
    """Matches any of the stop strings; None if there is none. Empty ones are ignored."""
    wanted = [re.escape(stop) for stop in stop_strings if stop]
    return re.compile("|".join(wanted)) if wanted else None


def cut_before_stop(text: str, stop_strings: tuple[str, ...]) -> str | None:
    """The text before the earliest stop string, or None if it has none."""
    pattern = stop_pattern(stop_strings)
    match = pattern.search(text) if pattern else None
    return text[: match.start()] if match else None
