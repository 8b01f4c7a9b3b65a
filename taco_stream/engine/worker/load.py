"""Puts the parts of a worker together: checkpoint, attention, model runner, core; and slots that memory holds."""

import inspect
import traceback
from typing import Any

import torch

from taco_stream.engine.protocol import Load, Ready
from taco_stream.engine.worker.admission import EventSink
from taco_stream.engine.worker.attention import SlotAttention
from taco_stream.engine.worker.checkpoint import Checkpoint, open_checkpoint
from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.counted_sampling import BYTES_PER_ROW
from taco_stream.engine.worker.device_memory import free_bytes, is_out_of_memory
from taco_stream.engine.worker.fallback import GenerateCore, alike_in_batches
from taco_stream.engine.worker.generation_config import recommendation
from taco_stream.engine.worker.kv_cache import bytes_per_position
from taco_stream.engine.worker.layer_masks import UnservedModelError, learned_masks, named_windows, short_windows
from taco_stream.engine.worker.model_runner import ModelRunner
from taco_stream.engine.worker.packed_linear import pack_linears
from taco_stream.engine.worker.weights import first_names
from taco_stream.errors import ModelError, UsageError
from taco_stream.events import GenerateFallback, OneRowAtATime, SlotsFailed, WeightsUnused

LARGEST_CHUNK = {"cpu": 512, "cuda": 4096}
"""Prompt tokens computed in one step: enough to saturate the device, little enough to be small in memory."""

REPRODUCIBLE_CHUNK = 128
"""Prompts are cut every so many tokens, and nowhere else, if shapes must not depend on the batch."""

REPRODUCIBLE_SLOTS = 32
"""Not what memory holds: the number is part of the shape, and so of the samples."""

MAX_SLOTS = {"cpu": 64, "cuda": 256}
"""Beyond these more rows no longer raise the throughput measurably, and every sample takes longer."""


GENERATE_ROWS = 16
"""Rows of a batch of the fallback: more would mostly wait for the longest."""


class SlotsFailedError(Exception):
    """Slots failed at a model that they may well be able to serve: an error of this package or of the device's."""


ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
RECURRENT = {"linear_attention", "conv"}
BOTH = {"hybrid", "hybrid_sliding"}
NEITHER = {"moe", "mlp"}
"""The kinds of layers that slots may be able to serve, by transformers' names. Others they cannot."""

CHECKED_TOKENS = 24
CHECKED_WINDOW = 8
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""How far logits computed through the slots may be from the model's own, as a share of the largest. What slots compute
wrongly is off by about one."""


def start(load: Load, emit: EventSink, *, as_on_cuda: bool | None = None) -> tuple[EngineCore | GenerateCore, Ready]:
    """Loads the model that `load` names. Raises `ModelError` or `UsageError`.

    Slots decode at fixed shapes, a step ahead of the tokens that are read, if the device is CUDA or with `as_on_cuda`.

    A model that slots cannot serve is noted as a `GenerateFallback` and served through `generate`. So is one for which
    the slots themselves failed, which is noted with its traceback as a `SlotsFailed` before.
    """
    if load.threads:  # the evaluator's workers want the other cores
        torch.set_num_threads(load.threads)
    checkpoint = open_checkpoint(load)
    if recommended := recommendation(checkpoint.model.generation_config, load.model):
        emit(recommended)
    if unused := checkpoint.unused_weights:
        message = f"the files of {load.model} hold weights that the model does not have: {first_names(unused)}"
        emit(WeightsUnused(message=message, weights=len(unused)))
    core: EngineCore | GenerateCore
    try:
        core = start_slots(load, checkpoint, emit, as_on_cuda)
    except (UnservedModelError, SlotsFailedError) as reason:
        if isinstance(reason, SlotsFailedError):
            emit(SlotsFailed(message="".join(traceback.format_exception(reason))))
        if load.reproducible:  # `generate` computes rows in whatever batch there is
            raise UsageError(f"the model {load.model} has no reproducible mode: {reason}") from reason
        message = f"{load.model} is served by transformers' generate, which is slower: {reason}"
        emit(GenerateFallback(message=message))
        identity = f"{describe_engine(load, checkpoint)} generate"
        rows = load.batch_size or GENERATE_ROWS
        if (trouble := alike_in_batches(checkpoint, TOLERANCE[checkpoint.model.dtype])) and rows > 1:
            rows = 1
            message = f"{load.model} generates one sample at a time: {trouble}"
            emit(OneRowAtATime(message=message))
        core = GenerateCore(checkpoint, rows=rows, identity=identity, emit=emit)
    return core, Ready(
        device=str(checkpoint.device),
        devices=torch.cuda.device_count() if checkpoint.device.type == "cuda" else 1,
        dtype=_name(checkpoint.model.dtype),
        slots=core.statistics().rows_total,
        context_length=_context_length(load, checkpoint),
    )


def start_slots(load: Load, checkpoint: Checkpoint, emit: EventSink, as_on_cuda: bool | None = None) -> EngineCore:
    """A core over slots. Raises `UnservedModelError` if the model cannot be served by them, `SlotsFailedError` if it
    is not known whether it could be."""
    attention = SlotAttention()
    if checkpoint.device.type == "cuda":
        # On Hopper torch would prefer it, and it plans each new shape for tens of milliseconds (docs/design/engine.md).
        torch.backends.cuda.enable_cudnn_sdp(False)
    if as_on_cuda is None:
        as_on_cuda = checkpoint.device.type == "cuda"
    runner = ModelRunner(
        checkpoint.model,
        attention,
        device=checkpoint.device,
        fixed_shapes=as_on_cuda,
        reads_late=as_on_cuda,
        reproducible=load.reproducible,
        emit=emit,
    )
    check_served(checkpoint, runner, attention)
    if checkpoint.device.type == "cpu":
        pack_linears(checkpoint.model, load.batch_size or MAX_SLOTS["cpu"], free_bytes(checkpoint.device))
    context_length = _context_length(load, checkpoint)
    length = min(context_length, load.context_length or load.usual_length)

    def slots(length: int) -> int:
        if load.reproducible:
            return load.batch_size or REPRODUCIBLE_SLOTS
        # Beside its row, a slot remembers the states behind its prompt.
        per_slot = length * bytes_per_position(attention.shapes, checkpoint.model.dtype) + 2 * runner.state_bytes
        return load.batch_size or slots_in_memory(checkpoint, per_slot)

    return EngineCore(
        checkpoint,
        runner,
        slots=slots,
        length=length,
        context_length=context_length,
        identity=describe_engine(load, checkpoint),
        emit=emit,
        largest_chunk=REPRODUCIBLE_CHUNK if load.reproducible else LARGEST_CHUNK[checkpoint.device.type],
        prompts_per_step=1 if load.reproducible else None,
    )


def check_served(checkpoint: Checkpoint, runner: ModelRunner, attention: SlotAttention) -> None:
    """Sets the model to the slots' attention. Raises `UnservedModelError` if it then computes something else.

    A few tokens go through the model as it is and through the slots (in chunks, then one by one beside others). That
    finds, without a list of architectures, models with layers that keep their keys elsewhere, with masks of their
    own, or with positions that they count themselves. All windows that masks show are cut down to `CHECKED_WINDOW` on
    both sides meanwhile, so that few tokens run out of them; how wide they really are is read from the masks
    (`layer_masks`). Windows that `generate` would give a layer by the configuration must all have come. A second row at
    the end of the context shows whether the first row's logits depend on it, as they do with rotary scalings that
    switch by a batch's longest row.

    The time is bounded by that of a prompt of `5 * CHECKED_TOKENS` tokens, whatever the windows and the context.
    """
    model, context_length = checkpoint.model, checkpoint.context_length
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := kinds - (ATTENTION | RECURRENT | BOTH | NEITHER):
        raise UnservedModelError(f"it has layers of the kind {', '.join(sorted(unknown))}")
    has_positions = "position_ids" in inspect.signature(model.forward).parameters
    if not has_positions and not (kinds and kinds <= RECURRENT):
        raise UnservedModelError("it counts its positions itself")
    if getattr(config, "attn_temperature_tuning", None):
        # Llama 4, from `floor_scale` on: `checkpoint.context_length` ends before it, and a packed step must as well.
        kind = checkpoint.device.type
        if config.floor_scale <= LARGEST_CHUNK[kind] + MAX_SLOTS[kind]:
            raise UnservedModelError("it counts its positions itself")
    positions = torch.arange(CHECKED_TOKENS, device=checkpoint.device)
    tokens = positions % config.vocab_size
    own_attention = model.config._attn_implementation
    try:
        with torch.inference_mode(), short_windows(own_attention, CHECKED_WINDOW, context_length):
            expected = model(input_ids=tokens[None], use_cache=False).logits[0].float()
            if not expected.amax(-1).isfinite().all():
                raise ModelError(f"{checkpoint.not_finite} for its first {CHECKED_TOKENS} tokens")
            rows = torch.stack([positions, positions + max(0, context_length - CHECKED_TOKENS)])
            given = {"position_ids": rows} if has_positions else {}
            beside = model(input_ids=tokens.expand(2, -1), use_cache=False, **given).logits[0].float()
        # "not … <=" in place of ">", which is false for NaN.
        if not _difference(beside, expected) <= TOLERANCE[model.dtype]:
            raise UnservedModelError("a row's logits depend on the rows beside it")
        attention.attach(model)
        with learned_masks(attention.name, context_length) as attention.masks:
            runner.probe()
        attention.masks = None
        if len(attention.shapes) != _attention_layers(config):
            raise UnservedModelError("not all of its layers are attention over keys and values")
        found = {window.size for window in attention.windows if window}
        if missing := named_windows(model.config, context_length) - found:
            window = ", ".join(map(str, sorted(missing)))
            raise UnservedModelError(
                f"the window of {window} that its configuration names does not reach its attention"
            )
        with attention.shortened_windows(CHECKED_WINDOW):
            difference = _difference(runner.compute_logits(tokens).float(), expected)
        if not difference <= TOLERANCE[model.dtype]:
            raise UnservedModelError(f"its logits come out {difference:.0%} off")
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise ModelError(f"the model leaves no memory on {checkpoint.device} to generate with") from error
        sentence = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, torch.AcceleratorError):
            # Whatever is computed on the device from now on fails as well.
            raise ModelError(f"{checkpoint.device} failed while the model was checked: {sentence}") from error
        attention.detach(model, own_attention)
        if is_error_of_slots(error):
            raise SlotsFailedError(f"decoding in slots failed with {sentence}") from error
        # What a model's own code raises when it is called as slots call it means that slots cannot serve it.
        raise UnservedModelError(sentence) from error
    except UnservedModelError:
        attention.detach(model, own_attention)
        raise


def is_error_of_slots(error: BaseException) -> bool:
    """Whether an error came up in this package's code or below it, rather than in the code of a model."""
    packages = [
        frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return [name for name in packages if name in ("taco_stream", "transformers")][-1:] == ["taco_stream"]


def _attention_layers(config: Any) -> int:
    """How many layers must come to the attention function."""
    kinds = getattr(config, "layer_types", None) or ()
    if set(kinds) <= ATTENTION:
        return int(config.num_hidden_layers)
    return sum(kind in ATTENTION | BOTH for kind in kinds)


def _difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest logit."""
    return float((logits - expected).abs().max() / expected.abs().max())


def describe_engine(load: Load, checkpoint: Checkpoint) -> str:
    """The engine's name in every completion: engine, model, and all else that changes the samples."""
    parts = [f"local:{load.model}", _name(checkpoint.model.dtype)]
    parts += [load.quantize] if load.quantize else []
    parts += ["reproducible"] if load.reproducible else []
    return " ".join(parts)


def _context_length(load: Load, checkpoint: Checkpoint) -> int:
    longest = min(checkpoint.context_length, load.context_length or checkpoint.context_length)
    # Slots that grow would change the shape of everything that follows.
    return min(longest, load.usual_length) if load.reproducible and not load.context_length else longest


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def slots_in_memory(checkpoint: Checkpoint, per_slot: int) -> int:
    """How many slots of `per_slot` bytes fit into nine tenths of the free memory, less what chunks and logits need."""
    kind = checkpoint.device.type
    free = free_bytes(checkpoint.device)
    text = checkpoint.model.config.get_text_config(decoder=True)
    workspace = LARGEST_CHUNK[kind] * 24 * text.hidden_size * checkpoint.model.dtype.itemsize
    counted = BYTES_PER_ROW if kind == "cuda" else 0
    logits = MAX_SLOTS[kind] * (text.vocab_size * 12 + counted)  # as computed, in float32, and the sampler's copy
    share = 0.9 if kind == "cuda" else 0.5  # a CPU's memory also feeds the evaluator
    return int(max(1, min(MAX_SLOTS[kind], (share * free - workspace - logits) // per_slot)))
