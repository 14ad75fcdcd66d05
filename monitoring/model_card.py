"""A version's model card in Markdown, in the sections of Mitchell et al. (2019), from what was measured and recorded.

Nothing in it is written by hand: what was not measured is told as such, and the limits follow from the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monitoring.card_facts import CardFacts, Gate, Measured, Scored
from monitoring.measures.instructions import wilson_interval

FEW = 50
"""Validation samples below which the accuracy of a slice is told to be rough."""
POORLY_CALIBRATED = 0.1
ROLES: Mapping[str, str] = {
    "base": "base training",
    "selected": "chosen by score and labelled",
    "control": "drawn at random and labelled",
    "arrived": "labelled without being asked for",
    "replay": "repeated against forgetting",
    "unlabelled": "learnt under the model's own confident answers",
    "validation": "drawn for validation (not learnt)",
}


def render(facts: CardFacts) -> str:
    """The card."""
    sections = {
        "Model details": _details(facts),
        "Intended use": _use(facts),
        "Factors": _factors(facts.measured),
        "Metrics": _metrics(facts.measured),
        "Evaluation data": _evaluation_data(facts),
        "Training data": _training_data(facts),
        "Training": _training(facts),
        "Quantitative analyses": _analyses(facts.measured),
        "Gate": _gate(facts.gate),
        "Limits": [f"- {limit}" for limit in limits(facts)],
    }
    lines = [f"# Model card: {facts.model} v{facts.version}", ""]
    for title, body in sections.items():
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def _details(facts: CardFacts) -> list[str]:
    parent = f"tuned from v{facts.parent}" if facts.parent else "trained from scratch"
    size = "–" if facts.stored_bytes is None else f"{facts.stored_bytes / 1e6:.2f} MB"
    shape = ", ".join(f"{key} {_plain(value)}" for key, value in sorted(facts.description.items()))
    rows = [
        ("version", f"v{facts.version}, {facts.state.replace('_', ' ')}, {parent}"),
        ("lineage", " ← ".join(f"v{version}" for version in facts.ancestors)),
        ("architecture", facts.architecture),
        ("shape", shape or "–"),
        ("parameters", f"{facts.parameters:,}"),
        ("stored for this version", size),
        ("weights", f"`{facts.digest[:16]}`"),
        ("card made", f"{facts.made_at:%Y-%m-%d %H:%M} UTC"),
    ]
    return _table(("", ""), rows)


def _use(facts: CardFacts) -> list[str]:
    told = [f"- `{name}`: one of {len(answers)} answers ({_few(answers)})" for name, answers in facts.tasks.items()]
    return ["Answers these tasks from whichever of its modalities a sample has:", "", *told]


def _factors(measured: Measured) -> list[str]:
    domains = ", ".join(row.name for row in measured.domains) or "none"
    subsets = ", ".join(row.name for row in measured.subsets) or "none"
    return [f"Measured by domain ({domains}) and by the modalities shown ({subsets})."]


def _metrics(measured: Measured) -> list[str]:
    rows = [
        ("accuracy", _share(measured.overall), "share of right answers, with Wilson's 95 % interval"),
        ("instruction following", _number(measured.following), "unmasked answer lies in the task's answer set"),
        ("calibration error", _number(measured.ece), f"ECE, 15 bins, at temperature {measured.temperature:.3g}"),
        ("negative log-likelihood", _number(measured.nll), "nats"),
        ("Brier score", _number(measured.brier), "0–2"),
        ("modality balance", _number(measured.balance), "entropy of the Shapley shares, 0–1; no success by itself"),
    ]
    return _table(("metric", "value", "meaning"), rows)


def _evaluation_data(facts: CardFacts) -> list[str]:
    return [
        f"{facts.measured.overall.num_samples} labelled validation samples. Temperature and early stopping are "
        "fitted on validation samples too, so calibration is told a little too well; the test split was not touched."
    ]


def _training_data(facts: CardFacts) -> list[str]:
    rows = [(ROLES.get(role, role), f"{num:,}") for role, num in facts.roles.items() if num]
    total = [
        "",
        f"{facts.num_learnt:,} samples were learnt by this version and its ancestors with the labels in force; "
        f"{facts.num_tainted:,} labels of its own round are in quarantine. Data snapshot `{facts.snapshot[:16]}`.",
    ]
    splits = sorted({split for counts in facts.samples.values() for split in counts})
    held = [(domain, *(f"{counts.get(split, 0):,}" for split in splits)) for domain, counts in facts.samples.items()]
    return [
        *_table(("samples of its round", "number"), rows),
        *total,
        "",
        *_table(("samples in the home", *splits), held),
    ]


def _training(facts: CardFacts) -> list[str]:
    rows = [(key.replace("_", " "), _plain(value)) for key, value in facts.training.items() if value is not None]
    return [f"Asked for by `{facts.trigger}`.", "", *_table(("fact", "value"), rows)]


def _analyses(measured: Measured) -> list[str]:
    lines = ["By domain:", "", *_scores("domain", measured.domains)]
    lines += ["", "With only these modalities shown, of the samples that have them all:", ""]
    lines += _scores("modalities", measured.subsets)
    if measured.shapley:
        rows = [(name, f"{value:+.3f}") for name, value in measured.shapley.items()]
        lines += ["", "What each modality adds to the accuracy (Shapley value):", "", *_table(("modality", "φ"), rows)]
    if measured.pairs:
        told = [
            (
                f"{pair.x}, {pair.y}",
                f"{pair.error:.3f}",
                str(pair.num_pairs),
                f"{pair.cosine_distance:.3f}",
                f"{pair.modality_gap:.3f}",
                f"{pair.uniformity:.3f}",
            )
            for pair in measured.pairs
        ]
        head = ("pair", "retrieval error", "gallery", "1 − cosine", "modality gap", "uniformity")
        lines += ["", "Alignment:", "", *_table(head, told)]
    return lines


def _gate(gate: Gate | None) -> list[str]:
    if gate is None:
        return ["It was not judged by a gate."]
    lines = [f"Verdict: **{gate.verdict}**", "", *(f"- {reason}" for reason in gate.reasons)]
    if gate.rows:
        told = [
            (metric, name, f"{old:.4g}", f"{new:.4g}", f"{low:+.1%} to {high:+.1%}", str(num))
            for metric, name, old, new, low, high, num in gate.rows
        ]
        head = ("metric", "slice", f"v{gate.against}", "this version", "relative change", "samples")
        lines += ["", *_table(head, told)]
    return lines


def limits(facts: CardFacts) -> list[str]:
    """What the figures warn of, one sentence each."""
    measured = facts.measured
    found = [
        f"Domain {row.name} was measured on {row.num_samples} samples: its accuracy is rough."
        for row in measured.domains
        if row.num_samples < FEW
    ]
    seen = {row.name for row in measured.domains}
    found += [f"Domain {name} has no labelled validation sample." for name in facts.samples if name not in seen]
    if measured.overall.num_samples:
        whole = measured.overall.num_right / measured.overall.num_samples
        found += [
            f"With {row.name} alone it answers {row.num_right / row.num_samples:.0%} rightly, {whole:.0%} overall."
            for row in measured.subsets
            if "+" not in row.name and row.num_samples and row.num_right / row.num_samples < whole - 0.1
        ]
    if measured.ece is not None and measured.ece > POORLY_CALIBRATED:
        found.append(f"Its confidence is off by {measured.ece:.0%} on average.")
    if measured.balance is None:
        found.append("The modalities' shares could not be measured.")
    if facts.num_tainted:
        found.append(f"It learnt {facts.num_tainted} labels that have been quarantined since.")
    if facts.gate is None or facts.gate.against is None:
        found.append("It was compared with no earlier version.")
    found.append("Answers outside a task's set are never given: a sample that fits none gets one of them all the same.")
    return found


def _scores(kind: str, rows: Iterable[Scored]) -> list[str]:
    return _table((kind, "accuracy", "samples"), [(row.name, _share(row), str(row.num_samples)) for row in rows])


def _share(row: Scored) -> str:
    """A share with its interval.

    >>> _share(Scored(name="en", num_right=9, num_samples=10))
    '0.900 (0.596–0.982)'
    """
    if not row.num_samples:
        return "–"
    low, high = wilson_interval(row.num_right, row.num_samples)
    return f"{row.num_right / row.num_samples:.3f} ({low:.3f}–{high:.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain(value: Any) -> str:
    """A setting or a figure in few characters, safe in a cell.

    >>> _plain(1234567), _plain(0.123456), _plain(("a", "b"))
    ('1,234,567', '0.1235', 'a, b')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(str, value)) or "–" if isinstance(value, tuple | list) else str(value) or "–"


def _few(answers: Sequence[str], most: int = 12) -> str:
    return ", ".join(answers[:most]) + (", …" if len(answers) > most else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; a bar or a line break in a cell is made harmless."""
    body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [_line(head), _line(["---"] * len(head)), *(_line(row) for row in body)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
