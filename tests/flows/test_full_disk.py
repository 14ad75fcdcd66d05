"""A disk that is really full at several moments of a round: a known error, and with room again it ends whole."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.common import expected_errors
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.reconciling import reconcile
from flows.steps.rounds import run_round
from flows.workspace import Workspace, open_workspace
from tests.flows import homes

DISK_MB = 48


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk; run the tests as root outside a container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


MOMENTS = {
    "": 0,
    "round.opened": 20,
    "tune.trained": 200,
    "tune.committed": 800,
    "validate.committed": 8,
    "decide.committed": 8,
}
"""Kilobytes left when a round has come to that failpoint."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_full_disk_is_told_and_the_round_goes_on_when_there_is_room(
    moment: str, disk: Path, template: Path, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.set_small(monkeypatch, disk / "home")
    homes.copy(template, disk / "home")
    if moment:
        with homes.stopping_at(moment):
            go_on(right)
    fill(disk, MOMENTS[moment])
    with pytest.raises(expected_errors(), match=r"(?i)space|disk|full"):
        go_on(right)
    (disk / "ballast").unlink()
    ws = go_on(right)
    assert homes.states(ws) == {1: "accepted", 2: "probation"}
    assert ws.registry.aliases() == {"champion": "2", "previous": "1"}
    ws.database.close()


def go_on(right: dict[str, str]) -> Workspace:
    """A round from where it stands to its end."""
    ws = open_workspace(Settings.load(), SILENT)
    try:
        while not homes.states(ws).get(2, "candidate").startswith("prob"):
            if run_round(ws, "drift").num_labels_missing:
                homes.label_waiting(ws, right)
        reconcile(ws)
    except BaseException:
        ws.database.close()
        raise
    return ws


def fill(disk: Path, free_kb: int) -> None:
    """Leave so much room."""
    block = b"\0" * 1024
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            file.truncate(max(0, file.tell() - free_kb * 1024))
