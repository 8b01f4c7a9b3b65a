"""The NVIDIA devices of this machine over time, from their driver: memory in use and utilisation.

Needs `nvidia-ml-py` (the extra `gpu`); without it, or without a driver, there are no devices, and nothing else changes.
A question to the driver may take milliseconds, so it is asked in a thread.
"""

from types import ModuleType
from typing import Any

from taco_stream.statistics import DeviceStatistics


class DeviceGauges:
    """Call `observe` every few seconds, at monotonic times, and `statistics` whenever there is somebody to look."""

    def __init__(self) -> None:
        self._devices: list[_Device] | None = None

    def observe(self, now: float) -> None:
        """Reads every device's gauges. Never raises: a device that does not answer is left as it was."""
        if self._devices is None:
            self._devices = _open_devices()
        for device in self._devices:
            device.observe(now)

    def statistics(self) -> tuple[DeviceStatistics, ...]:
        """The devices, as far as they were observed."""
        return tuple(device.statistics() for device in self._devices or ())


class _Device:
    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        name = nvml.nvmlDeviceGetName(handle)
        self._name = name.decode() if isinstance(name, bytes) else str(name)  # bytes before version 12
        self._memory_bytes = self._peak_bytes = 0
        self._busy_seconds = self._seconds = 0.0
        self._observed_at: float | None = None
        self._share = 0.0

    def observe(self, now: float) -> None:
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
            share = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
        except self._nvml.NVMLError:
            return
        self._memory_bytes, self._peak_bytes = memory.total, max(self._peak_bytes, memory.used)
        if self._observed_at is not None:
            seconds = now - self._observed_at
            self._busy_seconds += seconds * (share + self._share) / 2
            self._seconds += seconds
        self._observed_at, self._share = now, share

    def statistics(self) -> DeviceStatistics:
        return DeviceStatistics(
            name=self._name,
            memory_bytes=self._memory_bytes,
            peak_memory_bytes=self._peak_bytes,
            utilisation=self._busy_seconds / self._seconds if self._seconds else self._share,
        )


def _open_devices() -> list[_Device]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        return [
            _Device(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        return []
