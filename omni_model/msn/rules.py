"""The article's static table of modalities, for models that nothing was measured of.

Visual questions: image and text when the budget is above 0.7, else text. Summaries: text and audio for a podcast, else
text and image. Everything else: text. What kind of task one is is told by its name: one that holds `vqa`, or both
`visual` and `question`, is a visual question; one that holds `summar` is a summary, of a podcast if it holds `podcast`.

The table is made to work for any modalities: what it names counts as far as it is available, and where nothing of it
is, the modality that is usually the lightest is used. Two cases that the article leaves open: a budget of 1 leaves
nothing out, and a latency, which cannot be compared to costs that nobody has measured, counts as a tight budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from omni_model.msn.choice import Budget, Choice
from omni_model.msn.table import named

WIDE = 0.7
"""Budget above which a visual question gets its image."""
LIGHTEST_FIRST = ("text", "sensor", "image", "audio", "video")


class StaticRules:
    """The article's table as a selector."""

    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        """What the table names, as far as it is available.

        >>> sorted(StaticRules().choose("easy-vqa", frozenset({"text", "image"}), Budget(share=0.8)).subset)
        ['image', 'text']
        >>> StaticRules().choose("easy-vqa", frozenset({"text", "image"}), Budget(share=0.5)).why
        'the static rules use text at a budget of 0.5'
        """
        if not available or (budget.latency_s is None and (budget.share is None or budget.share >= 1)):
            return Choice(subset=available, why="")
        share = 0.0 if budget.share is None or budget.latency_s is not None else budget.share
        subset = frozenset(table(task, share)) & available or frozenset({lightest(available)})
        if subset == available:
            return Choice(subset=subset, why="")
        shown = f"{budget.share:g}" if budget.share is not None else f"{budget.latency_s:g} s"
        return Choice(subset=subset, why=f"the static rules use {named(subset)} at a budget of {shown}")


def table(task: str, share: float) -> tuple[str, ...]:
    """The article's rules by a task's name.

    >>> table("summarise_podcast", 0.5), table("summary", 0.5), table("digit", 0.9)
    (('text', 'audio'), ('text', 'image'), ('text',))
    """
    name = task.lower()
    if "vqa" in name or ("visual" in name and "question" in name):
        return ("image", "text") if share > WIDE else ("text",)
    if "summar" in name:
        return ("text", "audio") if "podcast" in name else ("text", "image")
    return ("text",)


def lightest(available: Iterable[str]) -> str:
    """The modality that is usually the cheapest to look at; unknown ones come last, by name.

    >>> lightest({"video", "audio"}), lightest({"depth", "video"})
    ('audio', 'video')
    """
    known = {name: place for place, name in enumerate(LIGHTEST_FIRST)}
    return min(available, key=lambda name: (known.get(name, len(known)), name))


STATIC_RULES = StaticRules()
"""The fallback of a version without a tree of its own."""
