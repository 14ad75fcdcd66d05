"""The story's end: what happened to each version and why, and where to look next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MARKS = {"accepted": "✓ accepted", "rejected": "✗ rejected", "rolled_back": "↩ rolled back", "probation": "… probation"}


def show(console: Console, figures: Mapping[str, Any], home: Path) -> None:
    """Print the table, the figures in one paragraph, and the next steps."""
    table = Table(title="\nWhat happened to each version", title_justify="left", show_lines=True)
    for column in ("version", "from", "state", "why"):
        table.add_column(column)
    for row in figures["versions"]:
        parent = f"v{row['parent']}" if row["parent"] else "–"
        mark = MARKS.get(row["state"], row["state"])
        in_service = " (in service)" if row["version"] == figures["serving"] else ""
        table.add_row(f"v{row['version']}", parent, mark + in_service, row["reason"])
    console.print(table)
    lift = figures["lift_over_random"]
    frozen = "unchanged" if figures["frozen_unchanged"] else "MOVED"
    console.print(
        f"Mean test accuracy over six domains: {figures['static_accuracy']:.3f} if nothing had been done, "
        f"[bold]{figures['final_accuracy']:.3f}[/bold] now with {figures['label_share']:.0%} of the later domains' "
        f"labels, {figures['joint_accuracy']:.3f} for training from scratch on all of them.\n"
        f"Forgetting {figures['forgetting']:+.3f} · frozen layers {frozen} · tuning took {figures['tuning_s']:.0f} s, "
        f"training from scratch {figures['joint_training_s']:.0f} s · the version in service was wrong on what it "
        f"picked {f'{lift:.1f} times' if lift else 'an unknown factor'} as often as on a random draw.",
        highlight=False,
    )
    console.print(
        f"\nLook next (the demo's home is {home}):\n"
        f"  export OMNI_HOME={home}\n"
        "  omniloop models list              every version, its state and its parent\n"
        "  omniloop models show 4            who moved it, when, why, on which numbers\n"
        "  omniloop models compare 2 5       metric by metric, with intervals\n"
        "  omniloop rounds rejudge 3 --max-relative-fall 0.02   a past decision under another limit\n"
        "  omniloop up                       Prefect, schedules and the reconciler, until Ctrl-C",
        highlight=False,
    )
