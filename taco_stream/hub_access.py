"""Whether the hub can be reached, found out once and within seconds.

Without a connection `huggingface_hub` asks for every file again five times, with pauses that add up to half a minute,
before it looks into its cache or gives up.
"""

import functools
import queue
import threading

SECONDS = 5.0
"""How long the hub has to answer at all, the look-up of its address included."""


@functools.cache
def use_cache_alone_if_unreachable() -> None:
    """Switches `huggingface_hub` to its cache, in this process, if the hub does not answer. Asks once."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return
    outcome: queue.SimpleQueue[bool] = queue.SimpleQueue()
    # A look-up of an address has no time-out, so it may be left behind in a thread of its own.
    threading.Thread(target=lambda: outcome.put(_answers(constants.ENDPOINT)), daemon=True).start()
    try:
        constants.HF_HUB_OFFLINE = not outcome.get(timeout=SECONDS)
    except queue.Empty:
        constants.HF_HUB_OFFLINE = True


def _answers(address: str) -> bool:
    """Whether anything answers at the address, whatever it says."""
    from huggingface_hub import errors, get_session

    try:
        get_session().head(address, timeout=SECONDS)
    # The HTTP library differs between versions of huggingface_hub; its base error is always importable from there.
    except (errors.HTTPError, OSError):  # type: ignore[attr-defined]
        return False
    return True
