"""Made tables and trees: any costs, any accuracies, any questions."""

from __future__ import annotations

from hypothesis import strategies as st

from omni_model.msn.choice import Budget
from omni_model.msn.selector import MeasuredSelector, subsets_of
from omni_model.msn.table import Costs, Parts, Scored, Situation, Subset, Table
from omni_model.msn.tree import Leaf, Node, Split

MODALITIES = ("audio", "image", "text")
ALL = frozenset(MODALITIES)
TASKS = ("digit", "easy-vqa")

seconds = st.floats(0, 10)
shares = st.floats(0, 1)
tasks = st.sampled_from((*TASKS, "never seen"))
availables = st.sets(st.sampled_from((*MODALITIES, "smell"))).map(frozenset)
subsets = st.sampled_from([frozenset[str](), *subsets_of(MODALITIES)])
budgets = st.builds(
    Budget, share=st.none() | shares, latency_s=st.none() | st.floats(1e-6, 50, allow_nan=False, exclude_min=True)
)
parts = st.builds(Parts, fixed_s=seconds, each_s=st.fixed_dictionaries(dict.fromkeys(MODALITIES, seconds)))
costs = st.builds(Costs, alone=parts, batched=parts)


@st.composite
def situations(draw: st.DrawFn, task: str, available: Subset) -> Situation:
    scored = [
        Scored(subset=subset, accuracy=draw(st.sampled_from([i / 20 for i in range(21)])), error=0.02)
        for subset in subsets_of(available)
    ]
    return Situation(task=task, available=available, num_rows=50, num_exact=9, scored=tuple(scored))


@st.composite
def tables(draw: st.DrawFn, least: int = 0) -> Table:
    """Costs of both tasks, and some of their situations."""
    keys = [(task, available) for task in TASKS for available in subsets_of(MODALITIES)]
    measured = draw(st.lists(st.sampled_from(keys), unique=True, min_size=least, max_size=len(keys)))
    return Table(
        modalities=MODALITIES,
        costs={task: draw(costs) for task in TASKS},
        situations=tuple(draw(situations(task, available)) for task, available in measured),
    )


def trees() -> st.SearchStrategy[Node]:
    """Any tree, sensible or not."""
    features = st.sampled_from(["share", "latency_s", *(f"task:{t}" for t in TASKS), *(f"has:{m}" for m in MODALITIES)])
    return st.recursive(
        st.builds(Leaf, subset=subsets),
        lambda nodes: st.builds(Split, feature=features, threshold=st.floats(-1, 12), below=nodes, above=nodes),
        max_leaves=12,
    )


@st.composite
def measured(draw: st.DrawFn) -> tuple[MeasuredSelector, Situation]:
    """A selector and one of the situations that were measured for it."""
    table = draw(tables(least=1))
    return MeasuredSelector(table=table, tree=draw(trees())), draw(st.sampled_from(table.situations))


selectors = st.builds(MeasuredSelector, table=tables(), tree=trees())


def small_table() -> Table:
    """Text is cheap and good, the image adds to it, the audio adds little and costs most."""
    each_s = {"text": 0.001, "image": 0.003, "audio": 0.006}
    accuracy = {
        frozenset({"text"}): 0.80,
        frozenset({"image"}): 0.70,
        frozenset({"audio"}): 0.75,
        frozenset({"text", "image"}): 0.92,
        frozenset({"text", "audio"}): 0.88,
        frozenset({"image", "audio"}): 0.85,
        ALL: 0.93,
    }
    one = Costs(alone=Parts(fixed_s=0.002, each_s=each_s), batched=Parts(fixed_s=0.0, each_s=each_s))
    made = [
        Situation(
            task="digit",
            available=available,
            num_rows=100,
            num_exact=20,
            scored=tuple(
                Scored(subset=subset, accuracy=accuracy[subset], error=0.03) for subset in subsets_of(available)
            ),
        )
        for available in subsets_of(MODALITIES)
    ]
    return Table(modalities=MODALITIES, costs={"digit": one}, situations=tuple(made))
