"""Made clips: short films made from still pictures by moving over them; the answer is the movement.

No small labelled video set can be had, so this one is made. It proves that the video path works and learns, no more.
The pictures are squares cut from the two photographs that ship with scikit-learn; a square is the item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import cos, radians, sin

import numpy as np
from PIL import Image

from omni_model.data.seeding import rng_of
from omni_model.sample import Sample, TaskSpec

SIDE = 32
"""Width and height of a frame."""
NUM_FRAMES = 8
SQUARE = 64
"""Width and height of the squares that are cut from the photographs."""
MIN_CONTRAST = 15.0
"""Standard deviation of the grey values in the middle of a square, of 255."""
Move = tuple[float, float, float]
"""Of the camera: shift to the right in pixels, width of its view, turn counter-clockwise in degrees."""
MOVES: dict[str, Callable[[float], Move]] = {  # of the way from -1 at the first frame to 1 at the last
    "pan left": lambda way: (-12 * way, 1.0, 0.0),
    "pan right": lambda way: (12 * way, 1.0, 0.0),
    "zoom in": lambda way: (0.0, 1.0 - 0.4 * way, 0.0),
    "zoom out": lambda way: (0.0, 1.0 + 0.4 * way, 0.0),
    "rotate left": lambda way: (0.0, 1.0, 35 * way),
    "rotate right": lambda way: (0.0, 1.0, -35 * way),
}
TASK = TaskSpec(name="camera_move", instructions=("How does the camera move?",), answers=tuple(MOVES))


def load(n: int = 600, *, seed: int = 0, pictures: Sequence[np.ndarray] | None = None) -> list[Sample]:
    """`n` clips `uint8 [8, 32, 32, 3]`, movements in turn, over `pictures` (`uint8 [H, W, 3]`) or the photographs."""
    squares = photographs() if pictures is None else pictures
    return [_clip(number, squares, seed) for number in range(n)]


def _clip(number: int, squares: Sequence[np.ndarray], seed: int) -> Sample:
    sample_id = f"clip-{seed}-{number:05d}"
    rng = rng_of(sample_id)
    square = int(rng.integers(len(squares)))
    answer = TASK.answers[number % len(TASK.answers)]
    return Sample(
        id=sample_id,
        task=TASK.name,
        instruction=TASK.instructions[0],
        inputs={"video": film(squares[square], answer, speed=rng.uniform(0.6, 1.0))},
        answer=answer,
        item=f"square-{square:03d}",
        source="made-clips",
    )


def film(picture: np.ndarray, movement: str, *, speed: float) -> np.ndarray:
    """Move over a picture: `uint8 [NUM_FRAMES, SIDE, SIDE, 3]`. `speed` 1.0 goes the whole way."""
    image = Image.fromarray(picture).resize((SQUARE, SQUARE), Image.Resampling.BILINEAR)
    return np.stack([_frame(image, MOVES[movement](speed * way)) for way in np.linspace(-1, 1, NUM_FRAMES)])


def _frame(image: Image.Image, move: Move) -> np.ndarray:
    """What the camera sees: an affine map from pixels of the frame to pixels of the picture, about their centres."""
    shift, scale, turn = move
    a, b = scale * cos(radians(turn)), scale * sin(radians(turn))
    centre, middle = (SIDE - 1) / 2, (SQUARE - 1) / 2
    coefficients = (a, b, middle + shift - (a + b) * centre, -b, a, middle - (a - b) * centre)
    return np.array(
        image.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR)
    )


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """The two photographs of scikit-learn, cut into squares `uint8 [64, 64, 3]`, those of plain sky left out."""
    from sklearn.datasets import load_sample_images

    squares = (
        photograph[top : top + SQUARE, left : left + SQUARE]
        for photograph in load_sample_images().images
        for top in range(0, photograph.shape[0] - SQUARE + 1, SQUARE)
        for left in range(0, photograph.shape[1] - SQUARE + 1, SQUARE)
    )
    return tuple(square for square in squares if square[16:48, 16:48].mean(axis=2).std() >= MIN_CONTRAST)
