"""The flows under a real Prefect, by the commands that people use: a first version, a round in one go, one by steps."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flows.cli import main
from flows.prefect_server import Api, prefect_api
from flows.retrain import retrain
from flows.workspace import Workspace, use
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample, dump_task
from tests.flows import homes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with prefect_api(tmp_path_factory.mktemp("prefect")) as found:
        yield found


@pytest.fixture(autouse=True)
def users_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the server as they would find a user's own."""
    monkeypatch.setenv("PREFECT_API_URL", api.url)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", api.auth or "")


def omniloop(*args: object) -> None:
    """`omniloop` in this process; must end well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["omniloop", *(str(arg) for arg in args)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code in (0, None)


def test_a_round_as_one_flow_waits_goes_on_and_says_when_there_is_nothing_to_do(
    ws: Workspace, right: Mapping[str, str]
) -> None:
    with use(ws):
        opened = retrain(trigger="drift")
        assert (opened["step"], opened["num_labels_missing"]) == ("filtered", 20)
        homes.label_waiting(ws, right)
        done = retrain(trigger="resume")
        assert (done["version"], done["state"], done["verdict"]) == (2, "probation", "accept")
        assert ws.registry.aliases() == {"champion": "2", "previous": "1"}
        assert retrain(trigger="resume")["outcome"] == "nothing to do"


def test_the_loop_can_be_walked_by_its_commands(
    small: Path, tmp_path: Path, labelled: list[Sample], arriving: list[Sample], right: Mapping[str, str]
) -> None:
    dump_task(homes.TASK, tmp_path / "digit.yaml")
    omniloop("data", "add-task", tmp_path / "digit.yaml")
    omniloop("data", "ingest", write_manifest(labelled, tmp_path / "labelled"))
    omniloop("train")
    omniloop("data", "ingest", write_manifest(homes.unlabelled(arriving), tmp_path / "unlabelled"))
    omniloop("filter")
    queue = tmp_path / "queue.jsonl"
    omniloop("labels", "export", queue)
    rows = [json.loads(line) for line in queue.read_text().splitlines()]
    queue.write_text("".join(json.dumps({**row, "answer": right[row["id"]]}) + "\n" for row in rows))
    omniloop("labels", "import", queue, "--who", "ann")
    omniloop("finetune")
    omniloop("validate")
    omniloop("release")
    omniloop("probation")
    ws = homes.opened()
    assert homes.states(ws) == {1: "accepted", 2: "probation"}
    assert ws.registry.aliases() == {"champion": "2", "previous": "1"}
    ws.database.close()
