"""Writes `docs/troubleshooting.md`: every message that ends a command, by what it is about, with cause and cure.

    python docs/make_troubleshooting.py

The messages are collected from the source: whatever is raised as one of our errors, with … for what is filled in.
`FAMILIES` says what the messages of a module are about. A module that raises and is in no family, or a message that
cannot be read because another function makes it and `RELAYED` does not name that function, is a `LookupError` here.
`tests/test_documents.py` fails while the page on disk differs from what this makes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import taco_stream
from taco_stream import errors

PACKAGE = Path(taco_stream.__file__).parent
PAGE = Path(__file__).parent / "troubleshooting.md"

INTRODUCTION = """\
# Troubleshooting

<!-- Made by `python docs/make_troubleshooting.py` from the messages in the source: change it and them. -->

Every message that ends a command, by what it is about; … stands for what is filled in. Search this page for a few words
of yours. A message is one sentence that names the object and mostly what to do; this page adds the cause.

* `--debug` adds the traceback. `taco-stream doctor` finds what is wrong with the machine, and how to fix it.
* What happened to a run that went on all the same (a worker that was restarted, a batch that was halved) is in
  `RUN/events.jsonl`; [Events](events.md) describes each kind.
* Why a *program* failed is its verdict, not an error: [Read a report](how-to/reading-a-report.md#why-samples-failed).

| exit code | means | what to do |
|---|---|---|
| 0 | complete | |
| 1 | failed: a file, a disk, the model, a worker; `doctor`: a problem | follow the message, then the same command |
| 2 | refused: a flag, a name, other settings than the run's, a package that is not installed | change the command |
| 3 | finished, but the evaluator failed on some samples | the same command judges those again |
| 130 | interrupted by Ctrl-C or SIGTERM | the same command resumes |

Whatever the code, completions and verdicts that are on disk stay, and the same command goes on from there.
"""


class Message(NamedTuple):
    """A message with … for what is filled in, and the error that it is raised as; none if it is not one of ours."""

    text: str
    error: str


class Family(NamedTuple):
    """What the messages of some modules are about; a module is in the first family that names its path's beginning."""

    title: str
    modules: tuple[str, ...]
    text: str


FAMILIES = (
    Family(
        "Flags, variables and settings files",
        ("settings.py", "cli.py", "metrics.py", "run/", "commands/run.py"),
        "A value was given that does not exist or is out of its range: as a flag, as a variable `TACO_STREAM_…`, or "
        "in the file of `--config`; the message says which. [Commands and settings](commands.md#settings) lists all "
        "names and ranges. A misspelt variable is refused as well, because it would silently change nothing. `--k` "
        "above the number of samples cannot be estimated: raise `--samples`.",
    ),
    Family(
        "torch or transformers is not installed",
        ("engine/libraries.py",),
        "The installation only judges. Install the extra `local` to generate; without a GPU install torch's CPU build "
        "first.",
    ),
    Family(
        "The dataset cannot be found or read",
        (
            "datasets/arrow.py",
            "datasets/columnar.py",
            "datasets/jsonl.py",
            "datasets/open.py",
            "datasets/parquet.py",
            "datasets/sources.py",
            "datasets/special_judges.py",
        ),
        "`--dataset` is taken for a file or folder if one of that name exists, for a hub id otherwise. A file is "
        "recognised by its first bytes, not its name; a dataset by its columns ([which](how-to/other-benchmarks.md)). "
        "`taco-stream dataset SPEC` shows what is in it. A damaged or torn file is best fetched again.",
    ),
    Family(
        "The hub",
        ("datasets/hub.py",),
        "Datasets and models are downloaded once, to the cache at `HF_HOME`. Without a connection set "
        "`HF_HUB_OFFLINE=1`, so that only the cache is asked. Gated and private ones need a token: `hf auth login`, "
        "or `HF_TOKEN`.",
    ),
    Family(
        "A row is not a problem",
        ("datasets/",),
        "Said of one row, which the message names (`row 17 of FILE: …`). `--skip-bad-rows` reports such rows and "
        "leaves them out; the same setting must then be given when the run is resumed. Filters that no problem passes "
        "are here as well: `taco-stream dataset SPEC` lists the names to filter by.",
    ),
    Family(
        "Prompts and chat templates",
        ("prompting.py", "engine/worker/rendering.py"),
        "A base model's tokenizer has no chat template: ask with `--prompt base`. Some templates refuse a system "
        "message: leave `--system` out, or put it into a template of your own (`--prompt FILE`). Templates run in "
        "jinja2's sandbox. `taco-stream prompt PROBLEM` shows the outcome without loading a model.",
    ),
    Family(
        "The model cannot be loaded or served",
        ("engine/worker/",),
        "The name is neither a folder nor on the hub, the checkpoint is damaged or of a kind that does not generate "
        "text, it needs a package for its quantisation, or it asks for sampling that is not done here. "
        "[Architectures](architectures.md) lists what can be served. Out of memory: a smaller `--batch-size`, "
        "`--quantize int8`, or a smaller model.",
    ),
    Family(
        "Devices",
        ("engine/visible_devices.py", "engine/local/engine.py"),
        "`--devices` is `auto`, `cpu`, or a list such as `cuda:0,cuda:1`, counted within `CUDA_VISIBLE_DEVICES`. If "
        "torch sees no GPU though there is one, `taco-stream doctor` says whether driver and build fit. The last two "
        "concern callers from Python.",
    ),
    Family(
        "The cluster",
        ("cluster/",),
        "`--ray` uses the nodes of a Ray cluster ([Use a Ray cluster](how-to/ray.md)). A node that cannot be used is "
        "refused with its reason, and the run goes on with the others; it ends when there are none, with everything "
        "that was generated on disk.",
    ),
    Family(
        "Servers",
        ("engine/server/",),
        "`--engine server` asks a server that runs already ([Evaluate a served model](how-to/served-models.md)). One "
        "that rejects or ignores a field that was asked for would give other samples than the run says, and is refused "
        "unless `--server-may-ignore FIELD` allows it; each sample's `engine` then names the field. A run that ended "
        "because its servers did has everything that was generated on disk.",
    ),
    Family(
        "Rewards",
        ("rewards/", "harnesses/"),
        "Raised by a reward function in a trainer ([Reward a model](how-to/rewards.md)). The training set must name "
        "problems by the ids of the dataset, or bring tests in TACO's columns. An answer on which the evaluator failed "
        "is left out where a trainer can do that; verl cannot, so there it is an error unless the configuration has an "
        "`unjudged_score`.",
    ),
    Family(
        "Plug-ins",
        ("plug_ins.py",),
        "A distribution that adds an engine, a dataset or a format ([Write a plug-in](how-to/plug-ins.md)) raised an "
        "exception, or two have one of the same name. `taco-stream doctor` lists them all. `--debug` shows the "
        "plug-in's own traceback.",
    ),
    Family(
        "Requests to the service",
        ("service/",),
        "The service answers a body that it does not understand with HTTP status 400 and the sentence as "
        "`detail`; no command ends. What cannot be read is never taken for no tests, or for a program that failed.",
    ),
    Family(
        "Trackers and publishing",
        ("trackers/", "commands/log.py", "commands/push.py"),
        "Raised by `taco-stream log` and `push` ([Send a run to a tracker](how-to/tracking.md)), which only read the "
        "run. The "
        "sentence ends with what the tracker's library said: no key, no server, no place to write. The same command "
        "sends everything again.",
    ),
    Family(
        "Generation workers",
        ("engine/",),
        "Each device has a process of its own. One that dies is started again; if it dies without finishing a sample "
        "several times in a row, the run ends, with everything that was generated on disk. Killed by signal 9: the "
        "kernel, for lack of memory (`dmesg`). Signal 11 or an exception of CUDA: mostly the driver or the torch "
        "build. A request that kills workers alone is answered as an error, and the run goes on.",
    ),
    Family(
        "Judging and the sandbox",
        ("evaluator/",),
        "Programs are only run where they can be confined. `taco-stream doctor` says which mechanism is missing and "
        "how to turn it on; in a container see [Run in a container](how-to/containers.md). `--unsafe-no-sandbox` is "
        "for programs that you wrote yourself. A limit of the session that is below what a test may take would fail "
        "right programs, so it is refused.",
    ),
    Family(
        "The run directory",
        ("store/",),
        "*Was made with …, this start has …*: the directory belongs to a run with other settings. Use them, or "
        "another directory. *Is being written by process …*: another start of it is alive. *Is broken*: a line is "
        "damaged in the middle of a file, which a crash alone does not do (a torn last line is repaired): restore the "
        "file, or remove the line; its sample is then made again. A full disk: make room; nothing that was written is "
        "lost.",
    ),
    Family(
        "Completions from elsewhere, and exports",
        ("formats/",),
        "`evaluate` recognises a file by the fields of its first entry. If none fits, name the fields: `--id-field` "
        "and `--text-field`. Ids are the dataset's own (`taco-stream dataset SPEC` shows one), or positions in "
        "`generations.json`. An export needs the dataset that the run was made with, unchanged.",
    ),
    Family(
        "Audit",
        ("audit/",),
        "`--out` is both result and state: the same command resumes it, other settings need another file.",
    ),
    Family(
        "Comparing, showing and reporting runs",
        ("commands/", "report/"),
        "The runs that are named must exist and have judged samples; `taco-stream report RUN` prints what one has.",
    ),
    Family(
        "Calls from Python",
        ("notebook/",),
        "Said to callers of `load_run` and `evaluate`; [the API](api.md) has the arguments.",
    ),
    Family(
        "This machine",
        ("terminal.py", "machine.py", "workers/", "doctor/", "demo/", "events.py", "extraction.py", "sample_set.py"),
        "Something that every command needs. `taco-stream doctor` looks for it.",
    ),
)

OTHERS = {
    "Flags, variables and settings files": (
        "No such option: …",
        "No such command '…'.",
        "Missing argument '…'.",
        "Option '…' requires an argument.",
    ),
    "This machine": ("standard output cannot be written: …",),
}
"""Messages that are not raised as an error of ours: those of the flag parser, and what `cli.main` prints."""

RELAYED = {
    "evaluator/pool.py: reason": (("evaluator/settings.py", "refusal"), ("evaluator/sandbox/rlimits.py", "shortfall")),
    "cluster/engine.py: books.failure": (("cluster/members.py", "_hopelessness"),),
    "cluster/engine.py: str(error)": (("cluster/members.py", "_hopelessness"),),
    "cluster/evaluator.py: str(error)": (("cluster/members.py", "_hopelessness"),),
    "cluster/evaluator.py: judgement.failure": (("cluster/members.py", "_hopelessness"),),
    "cluster/evaluator.py: self._failure": (("cluster/members.py", "_hopelessness"),),
    "commands/run.py: '; '.join(gaps)": (("formats/samples.py", "match_ids"),),
    "engine/worker/fallback.py: checkpoint.not_finite": (("engine/worker/checkpoint.py", "not_finite"),),
    "engine/local/worker_handle.py: message": (),  # what the worker raised, under "The model cannot be loaded"
    "engine/local/worker_handle.py: str(error)": (("workers/process.py", "spawn"),),
}
"""Messages that are made elsewhere: the raising module and the expression, and the functions whose texts they are."""

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"RowError", "WorkerGoneError"}


def reference() -> str:
    """The whole page."""
    messages: dict[str, set[Message]] = {
        family.title: {Message(text, "") for text in OTHERS.get(family.title, ())} for family in FAMILIES
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE))
        for message in _raised(module, ast.parse(path.read_text(encoding="utf-8"))):
            messages[_family(module)].add(message)
    parts = [INTRODUCTION]
    for family in FAMILIES:
        found = sorted(messages[family.title], key=lambda each: (each.text.casefold(), each))
        rows = [
            f"| `{_cell(each.text)}` | {f'`{each.error}`' * bool(each.error)} | {_exit_code(each)} |" for each in found
        ]
        table = ["| message | from Python | exit code |\n|---|---|---|", *rows]
        parts.append("\n".join([f"## {family.title}\n", f"{family.text}\n", *table, ""]))
    return "\n".join(parts)


def _family(module: str) -> str:
    for family in FAMILIES:
        if module.startswith(family.modules):
            return family.title
    raise LookupError(f"{module} raises an error and is in no family of docs/make_troubleshooting.py")


def _raised(module: str, tree: ast.Module) -> Iterator[Message]:
    """The messages of all our errors that a module raises."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Raise) and node.exc is not None):
            continue
        for call in ast.walk(node.exc):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS and call.args:
                if call.func.id == "WorkerGoneError":
                    continue  # becomes the reason in another message
                error = "DatasetError" if call.func.id == "RowError" else call.func.id
                texts = list(_texts(call.args[0])) or _relayed(f"{module}: {ast.unparse(call.args[0])}")
                yield from (Message(text, error) for text in texts)


def _relayed(place: str) -> Iterator[str]:
    """The messages that other functions make for one that raises them."""
    if place not in RELAYED:
        raise LookupError(f"{place} is a message made elsewhere: name the function in docs/make_troubleshooting.py")
    for module, name in RELAYED[place]:
        tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
        (function,) = (each for each in ast.walk(tree) if getattr(each, "name", "") == name)
        for node in ast.walk(function):
            match node:
                case ast.Return(value=value) if value is not None:
                    yield from _texts(value)
                case ast.Call(func=ast.Name(id="WorkerGoneError"), args=[value]):
                    yield from _texts(value)


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be, with … for what is filled in; none if it is not written here."""
    match node:
        case ast.Constant(str(text)) if text:
            yield text
        case ast.JoinedStr(values=values):
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in values)
            if any(isinstance(each, ast.Constant) for each in values):
                yield text.replace("……", "…")
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one)
            yield from _texts(other)
        case ast.List(elts=elements):
            for each in elements:
                yield from _texts(each)


def _exit_code(message: Message) -> int:
    if message.error:
        return int(getattr(errors, message.error).exit_code)
    return 1 if message.text in OTHERS["This machine"] else 2


def _cell(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
