"""The doctor finds what was broken on purpose, says how to mend it, and itself breaks and makes nothing."""

import io
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from db.engine import Database
from flows import doctor, installation, stores
from flows.health import Check
from flows.settings import Settings
from flows.telemetry import OFF


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [*os.environ]:
        if name.startswith(("OMNI_", "PREFECT_")):
            monkeypatch.delenv(name)
    for name, value in OFF.items():
        monkeypatch.setenv(name, value)
    return Settings.load(home=tmp_path / "home")


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_a_fresh_machine_is_well_and_the_home_is_not_made_for_looking(settings: Settings) -> None:
    found = doctor.checks(settings)
    assert [check for check in found if check.status == "fail"] == []
    assert doctor.exit_code(found) == 0
    assert not settings.home.exists()


def test_a_home_in_use_is_well(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "blobs").mkdir()
    opened = Database(settings.database_url)
    opened.upgrade()
    opened.close()
    found = by_name(doctor.checks(settings))
    assert found["database"].status == "ok"
    assert "up to date" in found["database"].detail
    assert found["blobs"].status == "ok"
    assert list((settings.home / "blobs").iterdir()) == []


def test_nothing_heavy_is_imported_and_the_answer_comes_soon(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom flows.telemetry import silence\nsilence()\nfrom flows.doctor import checks\nchecks()\n"
        "print(sorted({'torch', 'mlflow', 'prefect', 'evidently', 'pandas'} & set(sys.modules)))"
    )
    environ = {**os.environ, "OMNI_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_misspelt_setting_fails_and_the_right_name_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_HOM", "x")
    found = doctor.checks()
    assert doctor.exit_code(found) == 1
    assert "Did you mean OMNI_HOME?" in by_name(found)["settings"].detail


def test_values_of_settings_are_not_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/loop")
    monkeypatch.setenv("OMNI_MLFLOW_URI", "postgresql+psycopg://me:hunter2@127.0.0.1:1/mlflow")
    output = io.StringIO()
    found = doctor.checks()
    doctor.render(found, Console(file=output, width=200))
    assert by_name(found)["database"].status == by_name(found)["mlflow"].status == "fail"
    assert "hunter2" not in output.getvalue()
    assert "OMNI_DATABASE_URL" in output.getvalue()


def test_each_failure_comes_with_a_mend(settings: Settings) -> None:
    in_the_way = settings.home.parent / "file"
    in_the_way.touch()
    broken = settings.model_copy(
        update={
            "home": in_the_way / "home",
            "database_url": "mysql://x/y",
            "blob_url": "s4://bucket",
            "mlflow_uri": "http://127.0.0.1:1",
        }
    )
    found = doctor.checks(broken)
    failed = {check.name for check in found if check.status == "fail"}
    assert failed >= {"home", "database", "blobs", "mlflow"}
    assert all(check.mend for check in found if check.status != "ok")
    output = io.StringIO()
    doctor.render(found, Console(file=output, width=200))
    for name in failed:
        assert f"\n{name}: " in output.getvalue()


def test_a_damaged_database_fails(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "omniloop.db").write_bytes(b"this is no database" * 100)
    assert stores.database(settings.database_url).status == "fail"


def test_an_older_database_is_a_warning_and_a_newer_one_a_failure(settings: Settings) -> None:
    settings.home.mkdir()
    path = settings.home / "omniloop.db"
    sqlite3.connect(path).close()
    path.touch()
    assert stores.database(settings.database_url).status == "warn"
    opened = Database(settings.database_url)
    opened.upgrade()
    opened.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    connection.close()
    assert stores.database(settings.database_url).status == "fail"


def test_a_home_that_is_a_file_fails(settings: Settings) -> None:
    settings.home.write_text("not a folder")
    found = stores.home(settings.home)
    assert (found.status, bool(found.mend)) == ("fail", True)


def test_a_server_of_the_users_own_that_is_down_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert by_name(doctor.checks(settings))["prefect"].status == "fail"


def test_telemetry_that_is_on_fails_and_names_the_switch(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    found = by_name(doctor.checks(settings))["telemetry"]
    assert found.status == "fail"
    assert "DO_NOT_TRACK=true" in found.mend


@pytest.mark.parametrize(
    ("requirement", "word"), [("sqlalchemy>=2.1", "must be >=2.1"), ("no-such-library", "is missing"), ("rich<1", "<1")]
)
def test_a_library_out_of_its_bounds_fails(requirement: str, word: str) -> None:
    found = installation.libraries(["pydantic>=2", requirement])
    assert found.status == "fail"
    assert word in found.detail


def test_a_requirement_for_another_platform_or_extra_is_left_out() -> None:
    found = installation.libraries(
        ["no-such-library; sys_platform == 'plan9'", "no-such-either; extra == 'benchmarks'"]
    )
    assert found.status == "ok"


@pytest.mark.parametrize(
    ("version", "has_driver", "status"),
    [("2.13.0+cpu", False, "ok"), ("2.13.0+cpu", True, "warn"), ("2.13.0", True, "ok"), (None, False, "fail")],
)
def test_torch_is_judged_by_its_build_and_the_driver(version: str | None, has_driver: bool, status: str) -> None:
    assert installation.torch_build(version, has_driver=has_driver).status == status


def test_a_warning_is_no_failure() -> None:
    assert doctor.exit_code([Check(name="space", status="warn", detail="1 GB", mend="Free some.")]) == 0
