"""Every hostile program, in one tuple; each file holds one way of being hostile."""

from hostile.program import HostileProgram
from hostile.programs import (
    assertions,
    compilers,
    exits,
    files,
    forgeries,
    hogs,
    kernel_calls,
    network,
    processes,
    secrets_sought,
)

PROGRAMS: tuple[HostileProgram, ...] = (
    *exits.PROGRAMS,
    *hogs.PROGRAMS,
    *processes.PROGRAMS,
    *secrets_sought.PROGRAMS,
    *forgeries.PROGRAMS,
    *assertions.PROGRAMS,
    *files.PROGRAMS,
    *network.PROGRAMS,
    *kernel_calls.PROGRAMS,
    *compilers.PROGRAMS,
)
