"""The frames between a generation worker and its parent.

The parent writes one `Load`, reads `Ready` or `Refused`, and from then on writes `Generate`, `Withdraw`, `Cancel` and
`Drain` as it likes; closing the pipe ends the worker. The worker answers every sample of every `Generate` with exactly
one `Finished`, in any order, sends `Gauges` about twice a second while it works, and an `EventFrame` for everything
that belongs in the run's events. Frames are those of `workers.frames`; nothing is acknowledged, because a worker that
dies is restarted and given everything it has not answered.
"""

import msgspec

from taco_stream.events import EngineEvent
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, Request


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """The worker's settings. `device` is `auto`, `cpu`, `cuda` or `cuda:N`; `dtype` is `auto` or torch's name.

    With `sees_one_device` the process sees no other CUDA device than `device`, and torch calls it the first.

    `batch_size` None means as many slots as memory holds, `context_length` None all that the model allows. Slots are
    `usual_length` positions long at first, and longer once a request needs it.
    `threads` None what torch chooses. `ignore_generation_config` names fields of generation_config.json to do without.
    """

    model: str
    device: str = "auto"
    sees_one_device: bool = False
    dtype: str = "auto"
    batch_size: int | None = None
    context_length: int | None = None
    usual_length: int = 4096
    quantize: str | None = None
    reproducible: bool = False
    threads: int | None = None
    ignore_generation_config: tuple[str, ...] = ()


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Asks for the samples of one request; `arrived_at` is when the engine received it, by the monotonic clock."""

    ticket: int
    request: Request
    arrived_at: float


class Withdraw(msgspec.Struct, frozen=True, tag="withdraw"):
    """Those of these samples of a ticket that have no token yet are to come back as `cancelled`."""

    ticket: int
    sample_indices: tuple[int, ...]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """The samples of these tickets are to come back as `cancelled` unless they are finished already."""

    tickets: tuple[int, ...]


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Samples without a token yet come back as `cancelled`, now and for every later `Generate`."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded. `devices` counts the devices of the chosen kind that the machine has."""

    device: str
    devices: int
    dtype: str
    slots: int
    context_length: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The worker cannot start; `is_usage` if the user asked for something that does not exist."""

    message: str
    is_usage: bool


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """One sample of a `Generate`."""

    ticket: int
    completion: Completion


class Gauges(msgspec.Struct, frozen=True, tag="gauges"):
    """The worker as it is now; its counters start at zero with the process."""

    statistics: EngineStatistics


class EventFrame(msgspec.Struct, frozen=True, tag="event"):
    """An event of the run."""

    event: EngineEvent


ToWorker = Load | Generate | Withdraw | Cancel | Drain
FromWorker = Ready | Refused | Finished | Gauges | EventFrame
