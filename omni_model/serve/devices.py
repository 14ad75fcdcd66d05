"""Encoders of several devices at work at once: a queue and a thread a device beside the one that fuses.

The fusing device's own blocks are encoded on the thread that asks, and so is everything where there is one device: on a
CPU, encoders of several modalities side by side cost more than they save (docs/experiments.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from omni_model.serve.cache import Key
from omni_model.serve.placement import Placement
from omni_model.serve.served import Served, encode


@dataclass(frozen=True, kw_only=True)
class DeviceCounts:
    """What one device holds, and what its encoders did so far."""

    num_waiting: int
    """Values that wait to be encoded or are being encoded."""
    num_encoded: int
    """Values encoded."""
    busy_s: float
    """Time spent on them."""


class Device:
    """One device's encoders: counts, and a thread with a queue if it is not the asker's own."""

    def __init__(self, name: str, *, has_thread: bool) -> None:
        self.name = name
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"encoder-{name}") if has_thread else None
        self._lock = threading.Lock()
        self._num_waiting = self._num_encoded = 0
        self._busy_s = 0.0

    def counts(self) -> DeviceCounts:
        """The counts as of now."""
        with self._lock:
            return DeviceCounts(num_waiting=self._num_waiting, num_encoded=self._num_encoded, busy_s=self._busy_s)

    def start(self, version: Served, values: Mapping[Key, Tensor]) -> Future[dict[Key, Tensor]]:
        """Tokens of some values, in time; at once on a device without a thread."""
        with self._lock:
            self._num_waiting += len(values)
        if self._threads is not None:
            return self._threads.submit(self._encode, version, values)
        future: Future[dict[Key, Tensor]] = Future()
        try:
            future.set_result(self._encode(version, values))
        except Exception as error:  # noqa: BLE001  told to whoever takes the result
            future.set_exception(error)
        return future

    def close(self) -> None:
        """End the thread, after what waits."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def _encode(self, version: Served, values: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
        began, num_encoded = time.monotonic(), 0
        try:
            made = encode(version, values)
            num_encoded = len(made)
            return made
        finally:
            with self._lock:
                self._num_waiting -= len(values)
                self._num_encoded += num_encoded
                self._busy_s += time.monotonic() - began


class Devices:
    """All devices of a placement."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._devices = {name: Device(name, has_thread=name != placement.fuse) for name in placement.devices}

    def counts(self) -> dict[str, DeviceCounts]:
        """By device."""
        return {name: device.counts() for name, device in self._devices.items()}

    def encode(self, version: Served, values: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
        """Tokens [L, D] on the CPU of prepared values, those of different devices side by side.

        What one device fails at is raised once all have finished.
        """
        parts: dict[str, dict[Key, Tensor]] = {}
        for key, value in values.items():
            parts.setdefault(self.placement.of(key.block), {})[key] = value
        others_first = sorted(parts, key=lambda name: name == self.placement.fuse)
        running = [self._devices[name].start(version, parts[name]) for name in others_first]
        made: dict[Key, Tensor] = {}
        errors = [error for each in running if (error := each.exception()) is not None]
        if errors:
            raise errors[0]
        for each in running:
            made |= each.result()
        return made

    def close(self) -> None:
        """End all threads."""
        for device in self._devices.values():
            device.close()
