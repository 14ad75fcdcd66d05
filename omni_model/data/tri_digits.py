"""Tri-digits, the embedded data set: one digit seen, heard and read, in six domains, with parts missing.

1,797 items, one per handwritten digit of scikit-learn. Each item belongs to one domain, and is rendered as

- image: 8x8 enlarged to 32x32, half of them with three of the eight rows or columns hidden, Gaussian noise;
- audio: the digit spoken by the domain's voice, faster or slower, at a random offset, in white or smoothed noise;
- text: the number word in the domain's language with typing errors;

each of the three absent now and then, never all. A sample is a pure function of its id, so the set is the same on every
machine. One recording per voice and digit: fit for the mechanics of continual learning, not for claims about speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import as_file, files
from itertools import islice

import numpy as np
from PIL import Image

from omni_model.data.seeding import rng_of
from omni_model.data.splits import split_of, unit_hash
from omni_model.sample import Sample, TaskSpec, Value

DOMAINS = ("en", "es", "fr", "it", "ru", "fr2")
"""Language and voice; `fr2` is a second voice speaking French. The order is that of the drift stream."""
MODALITIES = ("image", "audio", "text")
TASK = TaskSpec(
    name="digit",
    instructions=("Which digit is it?", "Name the digit.", "What number from 0 to 9 is shown, spoken or written?"),
    answers=tuple("0123456789"),
)

NUM_ITEMS = 1797
IMAGE_SIDE = 32
IMAGE_NOISE_SD = 0.18
HIDDEN_SHARE = 0.5
TEMPO_RANGE = (0.85, 1.18)
SNR_RANGE_DB = (-3.0, 12.0)
AUDIO_SAMPLES = 10_000
"""Length of every audio value: 1.25 s at 8 kHz; the slowest renderings of the longest clips lose their silent end."""
TYPO_RATE = 0.45
ABSENT_RATE = 0.12

_FRENCH = ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf")
_LATIN = "abcdefghijklmnopqrstuvwxyz"
WORDS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "fr": _FRENCH,
    "it": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
    "ru": ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
    "fr2": _FRENCH,
}
_LETTERS = {"fr": _LATIN + "éèêç", "fr2": _LATIN + "éèêç", "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюя"}


def load(domains: Sequence[str] = DOMAINS, *, seed: int = 0) -> list[Sample]:
    """The samples of the given domains (1,797 for all six) in the order of the digits; a seed renders them anew."""
    wanted = {_known(domain) for domain in domains}
    return [
        _render(index, domain, sample_id=f"tri-{domain}-{index:04d}-{seed}")
        for index, domain in enumerate(_domains())
        if domain in wanted
    ]


def live(domain: str, n: int, *, seed: int) -> Iterator[Sample]:
    """`n` new samples, as live traffic would bring them: items of the domain's train split only, with new noise.

    Ids are `live-<domain>-<seed>-<k>`. Items come in random order, each once before any comes again.
    """
    indices = [
        index
        for index, other in enumerate(_domains())
        if other == _known(domain) and split_of(item_name(index)) == "train"
    ]
    for number, index in enumerate(islice(_shuffled_for_ever(indices, rng_of(f"live-{domain}-{seed}")), n)):
        yield _render(index, domain, sample_id=f"live-{domain}-{seed}-{number}")


def item_name(index: int) -> str:
    """The item of a digit of scikit-learn.

    >>> item_name(7)
    'digit-0007'
    """
    return f"digit-{index:04d}"


def _known(domain: str) -> str:
    if domain not in DOMAINS:
        raise ValueError(f"Tri-digits has no domain {domain!r}. Choose from {', '.join(DOMAINS)}.")
    return domain


def _shuffled_for_ever(indices: list[int], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from (indices[place] for place in rng.permutation(len(indices)))


def _render(index: int, domain: str, *, sample_id: str) -> Sample:
    rng = rng_of(sample_id)
    pictures, targets = _digits()
    target = int(targets[index])
    inputs: dict[str, Value] = {
        "image": render_image(pictures[index], rng),
        "audio": render_audio(_voices()[f"{domain}_{target}"], rng),
        "text": render_text(WORDS[domain][target], _LETTERS.get(domain, _LATIN), rng),
    }
    absent = rng.random(len(MODALITIES)) < ABSENT_RATE
    absent[rng.integers(len(MODALITIES))] &= not absent.all()
    return Sample(
        id=sample_id,
        task=TASK.name,
        instruction=TASK.instructions[rng.integers(len(TASK.instructions))],
        inputs={name: inputs[name] for name, gone in zip(MODALITIES, absent, strict=True) if not gone},
        answer=TASK.answers[target],
        item=item_name(index),
        source="tri-digits",
        domain=domain,
    )


def render_image(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`float32 [8, 8]` in [0, 1] to a grey `uint8 [32, 32, 3]`, perhaps with a bar over it, always with noise."""
    picture = picture.copy()
    if rng.random() < HIDDEN_SHARE:
        first = int(rng.integers(6))
        hidden = (
            (slice(first, first + 3), slice(None)) if rng.random() < 0.5 else (slice(None), slice(first, first + 3))
        )
        picture[hidden] = 0.0
    large = np.asarray(Image.fromarray(picture).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR))
    noisy = large + rng.normal(0.0, IMAGE_NOISE_SD, large.shape)
    grey = np.round(np.clip(noisy, 0.0, 1.0) * 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def render_audio(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An `int16 [T]` clip to `float32 [AUDIO_SAMPLES]` within [-1, 1]: other tempo, random offset, noise."""
    tempo = rng.uniform(*TEMPO_RANGE)
    spoken = np.interp(np.arange(0, len(clip) - 1, tempo), np.arange(len(clip)), clip / 32768)[:AUDIO_SAMPLES]
    sound = np.zeros(AUDIO_SAMPLES)
    offset = int(rng.integers(AUDIO_SAMPLES - len(spoken) + 1))
    sound[offset : offset + len(spoken)] = spoken
    noise = rng.normal(size=AUDIO_SAMPLES)
    if rng.random() < 0.5:
        noise = _smooth(noise, width=int(rng.integers(3, 12)))
    power = np.mean(spoken**2) / np.mean(noise**2) / 10 ** (rng.uniform(*SNR_RANGE_DB) / 10)
    pcm = np.clip(np.round((sound + noise * np.sqrt(power)) * 32768), -32768, 32767)  # 16 bits: a WAV keeps it exactly
    return np.asarray(pcm / 32768, dtype=np.float32)


def render_text(word: str, letters: str, rng: np.random.Generator) -> str:
    """A word with typing errors: a letter in error is replaced, left out or doubled. Never empty."""
    typed = []
    for letter in word:
        typo = (letters[rng.integers(len(letters))], "", letter * 2)[rng.integers(3)]
        typed.append(typo if rng.random() < TYPO_RATE else letter)
    return "".join(typed) or word[0]


def _smooth(noise: np.ndarray, *, width: int) -> np.ndarray:
    """Mean over `width` neighbours, same length."""
    return np.convolve(noise, np.full(width, 1 / width), mode="same")


@cache
def _domains() -> tuple[str, ...]:
    """The domain of each item: items in the order of their hash are dealt out in turn, so domains are equally large.

    (Dealing them out in their own order would give each domain only the even or only the odd digits.)
    """
    order = sorted(range(NUM_ITEMS), key=lambda index: unit_hash(item_name(index), salt="tri-digits"))
    domains = [""] * NUM_ITEMS
    for place, index in enumerate(order):
        domains[index] = DOMAINS[place % len(DOMAINS)]
    return tuple(domains)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures `float32 [1797, 8, 8]` in [0, 1] and targets `[1797]`; scikit-learn is slow to import, hence late."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.asarray(digits.images / 16, dtype=np.float32), digits.target


@cache
def _voices() -> dict[str, np.ndarray]:
    """`<domain>_<digit>` to `int16 [T]` at 8 kHz; see `voices/NOTICE` for speakers and licences."""
    with (
        as_file(files("omni_model.data") / "voices" / "voices.npz") as path,
        np.load(path, allow_pickle=False) as clips,
    ):
        return {name: clips[name] for name in clips.files}
