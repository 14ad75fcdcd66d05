"""How a version comes to its selector: measured on the home's own samples, kept with it, fitted anew by the pulse."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.errors import BlobMissing, NotFound
from db.records.artefacts import MSN, Artefact
from db.repository import alerts, artefacts, samples, trials, versions
from flows.cli.msn import app, chain_lines
from flows.errors import NothingInService, NothingToDo
from flows.refitting import Refitter
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.selectors import fit_selector, in_service, selector_of, spread
from flows.workspace import Workspace, open_workspace
from omni_model.msn.choice import Budget
from omni_model.msn.config import MsnConfig
from tests.flows import homes

ALL = frozenset({"audio", "image", "text"})


@pytest.fixture(autouse=True)
def _quick(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time little: these tests are not about how exact a cost is."""
    for name, value in {"COST_ROWS": "2", "BATCH_ROWS": "8", "COST_REPEATS": "1"}.items():
        monkeypatch.setenv(f"OMNI_MSN__{name}", value)


@pytest.fixture(scope="module")
def fitted(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose v1 has a selector; nothing writes in it."""
    home = homes.copy(template, tmp_path_factory.mktemp("fitted") / "home")
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        ws = open_workspace(Settings.load(), SILENT)
        fit_selector(ws, 1)
        ws.database.close()
    return home


def told(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [alert.summary for alert in alerts.list_alerts(session, is_open=True)]


def test_a_version_has_no_selector_until_one_is_fitted_for_it(ws: Workspace) -> None:
    assert selector_of(ws, 1) is None
    made = fit_selector(ws, 1)
    found = selector_of(ws, 1)
    assert found is not None
    assert found.to_json() == ws.blobs.get(made.digest).decode()
    assert (made.version, made.kind) == (1, "msn")
    assert made.detail["num_samples"] == homes.SIZES["val"]
    assert [choice["budget"] for choice in made.detail["tasks"]["digit"]["choices"]] == [0.25, 0.5, 0.75, 1.0]
    assert json.loads(json.dumps(made.detail)) == made.detail


def test_what_was_fitted_keeps_to_a_budget_and_gives_more_for_more(fitted: Path, small: Path) -> None:
    ws = open_workspace(Settings.load(home=fitted), SILENT)
    found = selector_of(ws, 1)
    ws.database.close()
    assert found is not None
    costs = found.table.costs["digit"]
    situation = found.table.by_situation["digit", ALL]
    accuracies = []
    for percent in range(0, 101, 5):
        choice = found.choose("digit", ALL, Budget(share=percent / 100))
        assert choice.subset
        accuracies.append(situation.accuracy[choice.subset])
        if percent / 100 >= min(costs.share(row.subset, ALL) for row in situation.scored):
            assert costs.share(choice.subset, ALL) <= percent / 100 + 1e-9
    assert sorted(accuracies) == accuracies or accuracies[1:] == sorted(accuracies[1:])


def test_the_newest_fit_counts_and_the_older_one_is_kept(ws: Workspace) -> None:
    first, second = fit_selector(ws, 1), fit_selector(ws, 1)
    found = selector_of(ws, 1)
    assert found is not None
    assert found.to_json() == ws.blobs.get(second.digest).decode()
    with ws.database.read() as session:
        kept = [each.id for each in artefacts.list_artefacts(session, 1) if each.kind == MSN]
    assert kept == [first.id, second.id]


def test_a_version_that_is_not_there_has_nothing_fitted(ws: Workspace) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        fit_selector(ws, 9)


@pytest.mark.parametrize("more", [1, 0])
def test_with_too_few_labelled_validation_samples_there_is_nothing_to_do(ws: Workspace, more: int) -> None:
    """Too few in all, or enough in all and too few with any one modality."""
    few = MsnConfig(min_rows=homes.SIZES["val"] + more)
    with pytest.raises(NothingToDo, match="Label more"):
        fit_selector(ws.with_(settings=ws.settings.model_copy(update={"msn": few})), 1)
    assert selector_of(ws, 1) is None


def test_without_a_version_in_service_the_command_says_so(small: Path) -> None:
    ws = open_workspace(Settings.load(), SILENT)
    with pytest.raises(NothingInService, match="Name a version"):
        in_service(ws)
    ws.database.close()


def test_a_selector_whose_bytes_are_gone_is_an_error_and_not_a_silent_fallback(ws: Workspace) -> None:
    made = fit_selector(ws, 1)
    ws.blobs.delete(made.digest)
    with pytest.raises(BlobMissing):
        selector_of(ws, 1)


def test_many_samples_are_taken_at_even_distances(ws: Workspace) -> None:
    with ws.database.read() as session:
        labelled = samples.labelled(session, split="val")
    assert spread(labelled, len(labelled)) == labelled
    assert spread(labelled, 10) == labelled[::3]


# The pulse


def test_a_version_in_service_without_a_selector_gets_one_and_a_promoted_one_too(
    ws: Workspace, right: Mapping[str, str]
) -> None:
    refitter = Refitter(ws)
    assert refitter.step() == 1
    assert refitter.step() is None
    homes.run_whole_round(ws, right)
    assert homes.serving(ws).version == 2
    assert selector_of(ws, 2) is None
    assert refitter.step() == 2
    assert selector_of(ws, 2) is not None


def test_a_version_on_trial_gets_a_selector_of_its_own(ws: Workspace, right: Mapping[str, str]) -> None:
    approved = ws.with_(settings=ws.settings.model_copy(update={"loop": replace(ws.settings.loop, promotion="manual")}))
    homes.run_whole_round(approved, right)
    assert homes.serving(ws).version == 1
    refitter = Refitter(ws)
    assert refitter.step() == 1
    with ws.database.write() as session:
        trials.start(session, 2, mode="shadow", share=1.0, who="ann", why="a test", now=ws.clock())
    assert refitter.step() == 2
    assert refitter.step() is None


def test_a_promotion_does_not_wait_for_a_selector(ws: Workspace, right: Mapping[str, str]) -> None:
    homes.run_whole_round(ws, right)
    assert (homes.serving(ws).version, selector_of(ws, 2)) == (2, None)


def test_before_the_first_version_there_is_nothing_to_fit(small: Path) -> None:
    ws = open_workspace(Settings.load(), SILENT)
    assert Refitter(ws).step() is None
    ws.database.close()


def test_a_fit_that_fails_raises_an_alert_and_is_tried_again_later_and_later(ws: Workspace) -> None:
    seconds, tries = [0.0], list[float]()

    def failing(ws: Workspace, version: int) -> Artefact:
        tries.append(seconds[0])
        if len(tries) < 4:
            raise OSError("no space left on device")
        return fit_selector(ws, version)

    refitter = Refitter(ws, failing, lambda: seconds[0])
    pause_s = ws.settings.pulse.retry_s
    while len(tries) < 4:
        refitter.step()
        if len(tries) < 4:
            (summary,) = told(ws)
            assert "no space left on device" in summary
        seconds[0] += pause_s / 4
    assert tries == [0, pause_s, 3 * pause_s, 7 * pause_s]
    assert told(ws) == []
    assert selector_of(ws, 1) is not None


def test_an_alert_about_a_version_that_was_rolled_back_ends(ws: Workspace, right: Mapping[str, str]) -> None:
    def failing(ws: Workspace, version: int) -> Artefact:
        raise OSError("no space left on device")

    fit_selector(ws, 1)
    homes.run_whole_round(ws, right)
    refitter = Refitter(ws, failing)
    assert refitter.step() is None
    assert len(told(ws)) == 1
    from db.repository import releases

    with ws.database.write() as session:
        releases.rollback(session, 2, who="ann", why="a test", now=ws.clock())
    assert refitter.step() is None
    assert told(ws) == []


def test_too_few_labels_are_no_failure(ws: Workspace) -> None:
    few = MsnConfig(min_rows=1000)
    refitter = Refitter(ws.with_(settings=ws.settings.model_copy(update={"msn": few})))
    assert refitter.step() is None
    assert told(ws) == []


# The flow and the commands


def test_the_commands_fit_show_and_choose(home: Path) -> None:
    run = CliRunner().invoke
    asked = ["choose", "--task", "digit", "--modalities", "image,text", "--budget", "0.5"]
    before = run(app, asked)
    assert before.exit_code == 0
    assert "static rules" in before.output
    assert "no selector of its own" in run(app, ["show"]).output
    assert "v1 chooses by artefact" in run(app, ["fit"]).output
    shown = run(app, ["show", "1"]).output
    assert "Rules of v1" in shown
    assert "audio + image + text available" in shown
    after = run(app, asked)
    assert "the tree of v1" in after.output
    assert isinstance(run(app, ["show", "7"]).exception, NotFound)


def test_chains_are_fitted_kept_and_shown_once_a_loss_is_allowed(ws: Workspace) -> None:
    fit_selector(ws, 1)
    plain = selector_of(ws, 1)
    assert plain is not None
    assert chain_lines(plain) == ["No chain: everything chosen is looked at (OMNI_MSN__MAX_LOSS)."]
    loose = replace(ws.settings.msn, max_loss=0.9, chain_rows=10)
    fit_selector(ws.with_(settings=ws.settings.model_copy(update={"msn": loose})), 1)
    found = selector_of(ws, 1)
    assert found is not None
    assert found.choose("digit", ALL, Budget()).early
    title, *lines = chain_lines(found)
    assert (title, len(lines)) == ("Chains", len(found.chains))
    assert all(" stop)" in line and "points lost (n = " in line for line in lines)


@pytest.mark.slow
def test_the_flow_fits_the_version_in_service_and_leaves_word_when_there_is_nothing_to_do(ws: Workspace) -> None:
    from flows.fit_selector import fit_selector as flow
    from flows.prefect_server import prefect_api
    from flows.workspace import use

    with use(ws), prefect_api(ws.home):
        done = flow()
        again = flow(version=1)
    assert (done["version"], done["outcome"]) == (1, "fitted")
    assert again["outcome"] == "fitted"
    assert selector_of(ws, 1) is not None
    with ws.database.read() as session:
        assert versions.serving(session).version == 1
