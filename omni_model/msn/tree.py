"""The decision tree: fitted with scikit-learn, kept as plain values, evaluated and printed without it.

Its questions are: which task is it, is a modality there, how large is the budget (as a share, and in seconds).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from omni_model.msn.choice import Budget
from omni_model.msn.table import Ladder, Subset, Table, named

SHARE, LATENCY = "share", "latency_s"
UNBOUNDED_S = 1e9
"""Stands for no bound on the latency."""
CLOSE = 1e-4
"""How far below a cost, relatively, the tree is shown a budget that just does not pay for it."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """An answer."""

    subset: Subset


@dataclass(frozen=True, kw_only=True)
class Split:
    """A question: is the feature's value above the threshold?"""

    feature: str
    """`share`, `latency_s`, `task:NAME` or `has:MODALITY`; the last two are 0 or 1."""
    threshold: float
    below: Node
    above: Node


Node = Leaf | Split


def features_of(task: str, available: Iterable[str], budget: Budget) -> dict[str, float]:
    """What the tree may ask about; a feature that is not there is 0.

    >>> features_of("digit", {"text"}, Budget(share=0.5))
    {'task:digit': 1.0, 'has:text': 1.0, 'share': 0.5, 'latency_s': 1000000000.0}
    """
    return {
        f"task:{task}": 1.0,
        **{f"has:{name}": 1.0 for name in sorted(available)},
        SHARE: 1.0 if budget.share is None else budget.share,
        LATENCY: UNBOUNDED_S if budget.latency_s is None else budget.latency_s,
    }


def evaluate(node: Node, features: Mapping[str, float]) -> Subset:
    """The subset at the end of the questions.

    >>> text, both = Leaf(subset=frozenset({"text"})), Leaf(subset=frozenset({"text", "image"}))
    >>> sorted(evaluate(Split(feature="share", threshold=0.5, below=text, above=both), {"share": 0.4}))
    ['text']
    """
    while isinstance(node, Split):
        node = node.above if features.get(node.feature, 0.0) > node.threshold else node.below
    return node.subset


def num_leaves(node: Node) -> int:
    """How many answers a tree has."""
    return 1 if isinstance(node, Leaf) else num_leaves(node.below) + num_leaves(node.above)


def rules(node: Node, indent: str = "") -> list[str]:
    """The tree as lines to read.

    >>> print("\\n".join(rules(Split(feature="has:image", threshold=0.5, below=Leaf(subset=frozenset({"text"})),
    ...     above=Leaf(subset=frozenset({"image", "text"}))))))
    if there is no image:
      use text
    else:
      use image + text
    """
    if isinstance(node, Leaf):
        return [f"{indent}use {named(node.subset)}"]
    return [
        f"{indent}if {_question(node)}:",
        *rules(node.below, indent + "  "),
        f"{indent}else:",
        *rules(node.above, indent + "  "),
    ]


def _question(node: Split) -> str:
    kind, _, name = node.feature.partition(":")
    if kind == "task":
        return f"the task is not {name}"
    if kind == "has":
        return f"there is no {name}"
    if node.feature == SHARE:
        return f"the budget is below {node.threshold:.1%} of the full work"
    return f"the budget is below {1e3 * node.threshold:.3g} ms"


def fit_tree(table: Table, *, max_leaves: int) -> Node:
    """A tree that gives, for the situations measured and budgets around every cost, the best subset within the budget.

    Deterministic. Raises `ValueError` if nothing was measured.
    """
    lessons = lessons_of(table)
    if not lessons:
        raise ValueError("No situation was measured, so there is nothing to fit. Label more validation samples.")
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier

    names = sorted({name for features, _ in lessons for name in features})
    subsets = sorted({subset for _, subset in lessons}, key=named)
    place = {subset: index for index, subset in enumerate(subsets)}
    x_NF = np.array([[features.get(name, 0.0) for name in names] for features, _ in lessons], dtype=np.float32)
    y_N = np.array([place[subset] for _, subset in lessons])
    if len(subsets) == 1:
        return Leaf(subset=subsets[0])
    fitted = DecisionTreeClassifier(max_leaf_nodes=max_leaves, random_state=0).fit(x_NF, y_N)
    answers = [subsets[fitted.classes_[index]] for index in fitted.tree_.value[:, 0].argmax(axis=1)]
    return _simplified(_plain(fitted.tree_, answers, names, 0))


Lesson = tuple[dict[str, float], Subset]
"""What the tree is asked, and what it is to say."""


def lessons_of(table: Table) -> list[Lesson]:
    """What a tree is taught: every situation, with budgets around every cost in it."""
    return [
        lesson for (task, available), ladder in table.ladders.items() for lesson in _lessons(task, available, ladder)
    ]


def _lessons(task: str, available: Subset, ladder: Ladder) -> Iterator[Lesson]:
    """Budgets at and just below each cost: as a share, in seconds, and both together; with the best subset for each."""
    shares = {rung.share for rung in ladder.rungs} | {0.0, 1.0}
    latencies = {rung.alone_s for rung in ladder.rungs} - {0.0}
    pairs = [(share, UNBOUNDED_S) for share in _around(shares, most=1.0)]
    pairs += [(1.0, latency_s) for latency_s in _around(latencies, most=UNBOUNDED_S)]
    for rung in ladder.rungs:
        latency_s = rung.alone_s or UNBOUNDED_S
        pairs += product(_around([rung.share], most=1.0), _around([latency_s], most=UNBOUNDED_S))
    for share, latency_s in pairs:
        budget = Budget(share=share, latency_s=latency_s)
        yield features_of(task, available, budget), ladder.best(budget).subset


def _around(values: Iterable[float], *, most: float) -> list[float]:
    """Each value, rounded up a little so that it pays for what costs as much, and one just below it."""
    near = {min(value * (1 + CLOSE / 10), most) for value in values}
    below = {value * (1 - CLOSE) for value in values}
    return sorted(value for value in near | below if value >= 0 and math.isfinite(value))


def _plain(tree: Any, answers: Sequence[Subset], names: Sequence[str], place: int) -> Node:
    """scikit-learn's arrays as our values."""
    below, above = int(tree.children_left[place]), int(tree.children_right[place])
    if below == above:
        return Leaf(subset=answers[place])
    return Split(
        feature=names[tree.feature[place]],
        threshold=float(tree.threshold[place]),
        below=_plain(tree, answers, names, below),
        above=_plain(tree, answers, names, above),
    )


def _simplified(node: Node) -> Node:
    """Without questions whose two answers are the same."""
    if isinstance(node, Leaf):
        return node
    below, above = _simplified(node.below), _simplified(node.above)
    return below if below == above else Split(feature=node.feature, threshold=node.threshold, below=below, above=above)


def to_json(node: Node) -> dict[str, Any]:
    """As JSON types; `node_from` reads it back equal."""
    if isinstance(node, Leaf):
        return {"use": sorted(node.subset)}
    return {
        "feature": node.feature,
        "threshold": node.threshold,
        "below": to_json(node.below),
        "above": to_json(node.above),
    }


def node_from(raw: Mapping[str, Any]) -> Node:
    """The inverse of `to_json`. Raises `KeyError` or `TypeError` for anything else."""
    if "use" in raw:
        return Leaf(subset=frozenset(raw["use"]))
    return Split(
        feature=str(raw["feature"]),
        threshold=float(raw["threshold"]),
        below=node_from(raw["below"]),
        above=node_from(raw["above"]),
    )
