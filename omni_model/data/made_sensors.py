"""Made sensors: gestures with a six-channel motion sensor, synthesised from formulas; the answer is the gesture.

The recordings are made, not measured: they prove that the sensor path works and learns, nothing about people. Each has
another speed, strength, hold of the device and noise. Channels: acceleration x, y, z in g, then turn rate x, y, z in
rad/s.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from omni_model.data.seeding import rng_of
from omni_model.sample import Sample, TaskSpec

RATE_HZ = 50
STEPS = 128
"""2.56 s."""
CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
NOISE_SD = 0.6


def _still(turn: np.ndarray) -> list[np.ndarray]:
    return [0 * turn] * 6


def _shake(turn: np.ndarray) -> list[np.ndarray]:
    return [1.5 * np.sin(3 * turn), 0 * turn, 0.2 * np.sin(6 * turn), 0 * turn, 0 * turn, 0.4 * np.cos(3 * turn)]


def _circle(turn: np.ndarray) -> list[np.ndarray]:
    return [np.cos(turn), np.sin(turn), 0 * turn, 0 * turn, 0 * turn, 0 * turn + 0.3]


def _swing(turn: np.ndarray) -> list[np.ndarray]:
    return [0.6 * np.sin(turn), 0 * turn, 0.4 * np.cos(2 * turn), 0 * turn, 1.5 * np.cos(turn), 0 * turn]


def _twist(turn: np.ndarray) -> list[np.ndarray]:
    return [0 * turn, 0.2 * np.sin(turn), 0 * turn, 2.0 * np.sin(2 * turn), 0 * turn, 0 * turn]


def _tap(turn: np.ndarray) -> list[np.ndarray]:
    pulse = np.exp(-20 * (1 - np.cos(turn)))
    return [0 * turn, 0 * turn, 2.0 * pulse, 0.5 * pulse, 0 * turn, 0 * turn]


GESTURES: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "still": _still,
    "shake": _shake,
    "circle": _circle,
    "swing": _swing,
    "twist": _twist,
    "tap": _tap,
}
"""Each maps the phase `[T]` of a repetition, in radians, to its six channels."""
TASK = TaskSpec(name="gesture", instructions=("Which gesture was made?",), answers=tuple(GESTURES))


def load(n: int = 600, *, seed: int = 0) -> list[Sample]:
    """`n` recordings, `float32 [128, 6]`, gestures in turn. Every recording is an item of its own."""
    return [_recording(number, seed) for number in range(n)]


def _recording(number: int, seed: int) -> Sample:
    sample_id = f"gesture-{seed}-{number:05d}"
    answer = TASK.answers[number % len(TASK.answers)]
    return Sample(
        id=sample_id,
        task=TASK.name,
        instruction=TASK.instructions[0],
        inputs={"sensor": record(answer, rng_of(sample_id))},
        answer=answer,
        source="made-sensors",
    )


def record(gesture: str, rng: np.random.Generator) -> np.ndarray:
    """One recording, `float32 [STEPS, 6]`: the gesture, gravity, a random hold of the device, noise."""
    phase = 2 * np.pi * rng.uniform(0.8, 1.6) * np.arange(STEPS) / RATE_HZ + rng.uniform(0, 2 * np.pi)
    motion = rng.uniform(0.6, 1.4) * np.stack(GESTURES[gesture](phase), axis=1)
    motion[:, 2] += 1.0
    hold = _rotation(rng.normal(0, 0.3, 3))
    motion = np.concatenate([motion[:, :3] @ hold.T, motion[:, 3:] @ hold.T], axis=1)
    return np.asarray(motion + rng.normal(0, NOISE_SD, motion.shape), dtype=np.float32)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """`[3, 3]`: turns about x, then y, then z, in radians."""
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    return rotation
