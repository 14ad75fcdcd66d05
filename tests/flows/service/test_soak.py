"""The service under everything at once for a while: nothing fails, and memory is flat. `make soak` takes an hour."""

import os
from pathlib import Path

import pytest

from benchmarks.serve_home import Bench
from benchmarks.serve_soak import MAX_GROWN_MB, slope, soak, soaked
from tests.flows import homes

SECONDS = float(os.environ.get("SOAK_SECONDS", "40"))
"""`SOAK_SECONDS=120` for two minutes."""


@pytest.mark.slow
def test_mixed_load_fails_nothing_and_memory_stays_flat(home: Path, tmp_path: Path) -> None:
    bodies = Bench(tmp_path).bodies(600)
    environ = {name: value for name, value in homes.small_environment(home).items() if name.startswith("OMNI_")}
    with soaked(home, environ, bodies, tmp_path / "service.log") as server:
        report = soak(server, home, bodies, tmp_path, seconds=SECONDS, change_every_s=SECONDS / 8)
    assert not report.trouble
    assert set(report.statuses) == {200}
    assert report.num_requests > 10 * SECONDS
    assert report.num_feedback > SECONDS / 2
    assert report.num_arrived > SECONDS / 4
    assert report.num_changes >= 10
    assert report.grown_mb < MAX_GROWN_MB, report.memory_mb


def test_a_leak_shows_in_the_slope_and_a_peak_does_not() -> None:
    leaking = [(float(second), 100 + second / 10) for second in range(600)]
    peaking = [(float(second), 100.0 + (50.0 if second % 60 < 20 else 0.0)) for second in range(600)]
    assert slope(leaking, 600) == pytest.approx(360, rel=0.01)
    assert slope(peaking, 600) == pytest.approx(0, abs=1e-6)
