"""The gauges of NVIDIA devices, from a driver that is made up: what they do with what it says."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from taco_stream.device_gauges import DeviceGauges


class FakeDriver(ModuleType):
    """A driver with one device; `share` of None does not answer."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.used, self.share = 0, 0

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "Made-up 9000"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=1000, used=self.used)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        if self.share is None:
            raise self.NVMLError
        return SimpleNamespace(gpu=self.share)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    return driver


def test_utilisation_is_averaged_over_time_and_memory_has_its_peak(driver: FakeDriver) -> None:
    gauges = DeviceGauges()
    for now, driver.share, driver.used in ((0.0, 0, 10), (1.0, 100, 900), (11.0, 100, 300)):
        gauges.observe(now)
    (device,) = gauges.statistics()
    assert (device.name, device.memory_bytes, device.peak_memory_bytes) == ("Made-up 9000", 1000, 900)
    assert device.utilisation == pytest.approx(10.5 / 11)


def test_a_driver_that_does_not_answer_changes_nothing(driver: FakeDriver) -> None:
    gauges = DeviceGauges()
    gauges.observe(0.0)
    driver.share = None
    gauges.observe(1.0)
    (device,) = gauges.statistics()
    assert device.utilisation == 0


def test_without_the_library_there_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gauges = DeviceGauges()
    gauges.observe(0.0)
    assert gauges.statistics() == ()


def test_without_a_driver_there_are_no_devices(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise driver.NVMLError

    monkeypatch.setattr(driver, "nvmlInit", fail)
    gauges = DeviceGauges()
    gauges.observe(0.0)
    assert gauges.statistics() == ()
