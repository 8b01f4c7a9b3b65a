"""The report as one HTML file: no script, style, font or image from elsewhere, so it can be mailed and archived.

It is the page that `taco-stream view` serves, with its files and its document put into it. The document is in an
element that no browser executes, with every `<` escaped, and the page inserts its values as text. A policy in
the page allows its own script and style by their hashes and nothing else, no connection either.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.report.embedding import EMBEDDED_BYTES, embed
from taco_stream.report.page_data import RunPage
from taco_stream.report.run_reader import RunReader
from taco_stream.store.atomic import write_atomically
from taco_stream.store.run_directory import run_name
from taco_stream.types import Problem

PAGE = Path(__file__).with_name("page")
STYLE, SCRIPTS = "page.css", ("charts.js", "page.js")


def write_html(
    run: Path,
    path: Path,
    settings: EvaluatorSettings,
    ks: tuple[int, ...],
    *,
    problems: Callable[[], Iterable[Problem]] | None,
    limit: int = EMBEDDED_BYTES,
) -> None:
    """Writes the report of the run directory `run` to `path`, under the mode of the settings.

    `problems` are those of its dataset, None to do without them; `limit` bounds the bytes of the samples in it. Raises
    `StoreError` if the run cannot be read or the report cannot be written.
    """
    reader = RunReader(run, mode=settings.mode, ks=ks)
    reader.refresh()
    page = reader.page(run_name(run))
    embedded = embed(reader, page.problems, problems=problems, settings=settings, limit=limit)
    write_atomically(path, render(msgspec.structs.replace(page, embedded=embedded)).encode("utf-8"))


def render(page: RunPage) -> str:
    """The page with its document, as one text."""
    style = (PAGE / STYLE).read_text("utf-8")
    scripts = {name: (PAGE / name).read_text("utf-8") for name in SCRIPTS}
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts.values()))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    document = msgspec.json.encode(page).decode("utf-8").replace("<", "\\u003c")
    text = (PAGE / "page.html").read_text("utf-8")
    text = _put(text, f'<link rel="stylesheet" href="{STYLE}">', f"<style>{style}</style>")
    for name, script in scripts.items():
        text = _put(text, f'<script src="{name}" defer></script>', f"<script>{script}</script>")
    text = _put(
        text,
        '<meta charset="utf-8">',
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
    )
    return _put(text, "<noscript>", f'<script type="application/json" id="data">{document}</script>\n<noscript>')


def _put(text: str, place: str, content: str) -> str:
    """The text with the content in the one place that is marked so."""
    before, mark, after = text.partition(place)
    assert mark, f"page.html has no {place}"
    return before + content + after


def _hash(text: str) -> str:
    """The name of an inline script or style in a policy (CSP level 2)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
