"""No dependency reports home once a driver has started."""

import os
import subprocess
import sys

import pytest

from flows.telemetry import OFF, silence, talkers

CI_MARKS = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION")
"""With these set some libraries are silent by themselves, which would prove nothing about us."""

ASK_THE_LIBRARIES = """
import sys
outside = []
def watch(event, details):
    if event == "socket.getaddrinfo" and details[0] not in (None, "localhost", "127.0.0.1", "::1"):
        outside.append(details[0])
sys.addaudithook(watch)
from flows.telemetry import silence
silence()
from mlflow.telemetry.utils import is_telemetry_disabled
from prefect._internal.analytics.enabled import is_telemetry_enabled
from prefect.settings import get_current_settings
from evidently.telemetry import event_logger
from evidently.legacy import _config
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}/mlflow.db")
client.create_experiment("telemetry", artifact_location=f"file://{sys.argv[1]}")
print(is_telemetry_disabled(), is_telemetry_enabled(), get_current_settings().server.analytics_enabled,
      event_logger.is_enabled(), _config.TELEMETRY_ENABLED, outside)
"""


def test_a_weaker_value_of_the_user_is_made_strict() -> None:
    environ = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "false", "HOME": "kept"}
    silence(environ)
    assert environ == {**OFF, "HOME": "kept"}
    assert talkers(environ) == []


def test_talkers_names_each_switch_that_is_not_thrown() -> None:
    assert talkers({}) == list(OFF)


@pytest.mark.slow
def test_every_library_takes_itself_for_silenced_and_looks_up_no_host(tmp_path: object) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in {*OFF, *CI_MARKS}}
    command = [sys.executable, "-W", "ignore", "-c", ASK_THE_LIBRARIES, str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["True False False False False []"], done.stderr[-3000:]
