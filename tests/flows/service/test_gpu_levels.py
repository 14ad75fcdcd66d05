"""A GPU is told as one where there is one, and left out where there is none, where NVML is missing, and where it fails.

There need be no GPU here: `torch.cuda` and NVML are given to what asks them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from flows.service.machine_levels import gpu_levels, machine_levels
from flows.service.metrics import Level, Metrics
from flows.steps.scraping import read_service
from monitoring.measures.device import Nvml, gpu_utilisation

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UUID = "8f1c4a3e-0000-0000-0000-00000000cafe"


@dataclass
class FakeNvml:
    """NVML's border: two GPUs, named by their UUIDs, the second of which is ours."""

    busy: dict[str, int] = field(default_factory=lambda: {"GPU-other": 3, f"GPU-{UUID}": 62})
    num_open: int = 0
    error: Exception | None = None

    def nvmlInit(self) -> None:  # noqa: N802
        if self.error is not None:
            raise self.error
        self.num_open += 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.busy:
            raise RuntimeError("Not Found")
        return uuid

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        assert self.num_open == 1
        return SimpleNamespace(gpu=self.busy[handle], memory=99)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.num_open -= 1


def cuda(*, available: bool = True, initialized: bool = True, reserved: int = 1000) -> Any:
    """`torch.cuda` as far as it is asked."""
    stats = {"reserved_bytes.all.current": reserved, "inactive_split_bytes.all.current": reserved // 4}
    return SimpleNamespace(
        is_available=lambda: available,
        is_initialized=lambda: initialized,
        memory_stats=lambda: stats,
        current_device=lambda: 0,
        get_device_properties=lambda index: SimpleNamespace(uuid=UUID),
    )


def numbers(levels: Callable[[], Iterator[Level]]) -> dict[str, tuple[float | None, Any]]:
    """Metric to value and device, as the pulse reads them from two pages of the service a minute apart."""
    page = Metrics(levels).text().decode()
    _, seen = read_service(page, None, NOW)
    found, _ = read_service(page, seen, NOW + timedelta(minutes=1))
    return {each.metric: (each.value, each.detail.get("device") or each.detail.get("allocator")) for each in found}


def test_a_gpu_is_told_as_one_with_its_own_numbers() -> None:
    nvml = FakeNvml()
    found = numbers(lambda: gpu_levels(cuda(), lambda: nvml))
    assert found["device_utilisation"] == (0.62, "gpu")
    assert found["memory_fragmentation"] == (0.25, "cuda")
    assert nvml.num_open == 0, "NVML is closed each time"


def missing() -> Nvml:
    raise ModuleNotFoundError("No module named 'pynvml'")


@pytest.mark.parametrize(
    "load",
    [
        missing,
        lambda: FakeNvml(error=OSError("NVML Shared Library Not Found")),
        lambda: FakeNvml(busy={"GPU-other": 3}),
    ],
    ids=["no module", "no library", "another GPU alone"],
)
def test_without_nvml_a_gpus_use_is_left_out_and_never_0(load: Callable[[], Nvml]) -> None:
    found = numbers(lambda: gpu_levels(cuda(), load))
    assert "device_utilisation" not in found
    assert found["memory_fragmentation"] == (0.25, "cuda"), "the allocator is asked all the same"


@pytest.mark.parametrize("absent", [None, cuda(available=False), cuda(initialized=False)])
def test_without_a_gpu_nothing_is_said_of_one_and_nvml_is_not_asked(absent: Any) -> None:
    def never() -> Nvml:
        raise AssertionError("NVML was asked")

    assert list(gpu_levels(absent, never)) == []


def test_an_allocator_that_holds_nothing_has_no_fragmentation() -> None:
    assert "memory_fragmentation" not in numbers(lambda: gpu_levels(cuda(reserved=0), FakeNvml))


def test_on_the_cpu_the_use_is_labelled_as_the_cpus() -> None:
    found = numbers(machine_levels)
    assert found["device_utilisation"][1] == "cpu"
    assert found["memory_fragmentation"][1] == "glibc"


def test_nvml_is_closed_when_it_fails() -> None:
    nvml = FakeNvml()
    with pytest.raises(RuntimeError, match="Not Found"):
        gpu_utilisation(nvml, "GPU-unknown")
    assert nvml.num_open == 0


def test_the_module_that_is_installed_has_what_is_asked_of_it() -> None:
    pynvml = import_module("pynvml")
    for name in ("nvmlInit", "nvmlShutdown", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUtilizationRates"):
        assert callable(getattr(pynvml, name))
