"""The standard error of a process that has ended: of all that libraries print there, the exception."""

import re

LOG_TAIL_BYTES = 16384
"""As much of a log's end as is read: a traceback is shorter, and a progress bar may have written megabytes before."""

EXCEPTION = re.compile(r"([\w.]+\.)?\w*(Error|Exception|Interrupt|Exit)(:|$)|Fatal Python error|\S+: No module named")
"""The beginning of a traceback's last line, or of the only line if there is no traceback."""


def last_exception(log: str) -> str | None:
    """The last line of a log that names an exception, None if none does."""
    lines = [line.strip() for line in log.splitlines()]
    return next((line for line in reversed(lines) if EXCEPTION.match(line)), None)
