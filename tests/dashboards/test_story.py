"""The whole story by clicks and keys alone, on a real installation: `omniloop up` with its service, pulse and Prefect.

Sign in, see the drift, run a round, label ten samples, see the gate, approve, watch the swap, take a regression, see
the rollback, silence an alert, add a schedule and see Prefect fire it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db.engine import Database
from db.repository import predictions
from flows.client import Client
from flows.service.forms import PredictOut
from omni_model.data import tri_digits
from omni_model.data.codecs import CODECS
from omni_model.sample import Sample
from tests.flows import homes

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

RULES = """
version: 1
rules:
  - {name: embeddings drift, metric: modality_drift, by: modality, bound: absolute, side: upper, limit: 0.3,
     window: 30m, for: 0s, min_samples: 20, severity: warning, summary: "A modality looks different from the baseline.",
     mend: Label some of what arrives.}
"""
SETTINGS = {
    "OMNI_LOOP__PROMOTION": "manual",
    "OMNI_LOOP__VALIDATION_LABELS": "0",
    "OMNI_LOOP__NEW_LABELS_TRIGGER": "0",
    "OMNI_SELECTION__BUDGET": "10",
    "OMNI_ELASTIC__EPOCHS": "10",
    "OMNI_ELASTIC__LEARNING_RATE": "0.004",
    "OMNI_PULSE__RULES_S": "2",
    "OMNI_PULSE__PROBE_S": "2",
    "OMNI_PULSE__ROUNDS_S": "1",
    "OMNI_PULSE__PROBATION_S": "1",
    "OMNI_PULSE__TRIGGERS_S": "3000",
    "OMNI_DASHBOARD__PORT": "0",
}
SOON, LATER = 30_000, 240_000
"""Milliseconds for what the service or the pulse does, and for what needs a run of Prefect's on a busy machine."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 in service, which learnt English; Spanish waits without labels."""
    home = tmp_path_factory.mktemp("story") / "home"
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        homes.build(home, homes.domain("en"), homes.domain("es"))
    (home / "rules.yaml").write_text(RULES)
    return home


@contextmanager
def running(home: Path) -> Iterator[Path]:
    """`omniloop up`; gives its log."""
    log = home.parent / "up.log"
    environ = {**homes.small_environment(home), **SETTINGS, "OMNI_ALERTING__RULES": str(home / "rules.yaml")}
    environ = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    with log.open("wb") as output:
        command = [sys.executable, "-W", "ignore", "-c", "from flows.cli import main; main()", "up"]
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def told(log: Path, pattern: str, seconds: float = 180) -> str:
    """What the supervisor says, as soon as it does."""
    deadline = time.monotonic() + seconds
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, f"waited in vain for {pattern}:\n{log.read_text()}"
        time.sleep(0.2)
    return found[1]


def ask(client: Client, rows: list[Sample], wanted: list[str] | None = None) -> list[PredictOut]:
    """Live requests, with feedback where `wanted` says what somebody calls right."""
    answers = []
    for number, row in enumerate(rows):
        inputs = {modality: CODECS[modality].encode(value) for modality, value in row.inputs.items()}
        answers.append(client.predict("digit", inputs, domain=row.domain))
        if wanted is not None:
            client.feedback(answers[-1].prediction, wanted[number])
    return answers


def logged(home: Path, rows: list[Sample], answers: list[PredictOut]) -> dict[str, str]:
    """The right answers of live samples, by the ids under which they were logged."""
    database = Database(f"sqlite:///{home / 'omniloop.db'}")
    with database.read() as session:
        found = [predictions.get(session, answer.prediction) for answer in answers]
    database.close()
    return {
        row.sample_id: str(sample.answer)
        for row, sample in zip(found, rows, strict=True)
        if row is not None and row.sample_id is not None
    }


def confirm(page: Page, button: str, why: str, verb: str | None = None) -> None:
    """Press a button, give the reason in its dialog, and go on."""
    page.get_by_role("button", name=button, exact=True).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(why)
    dialog.get_by_role("button", name=verb or button, exact=True).click()


def label_ten(page: Page, right: dict[str, str]) -> None:
    """Answer by keys until nothing waits."""
    for _ in range(10):
        sample = page.locator("#work a[href^='/data/sample']").first.inner_text()
        page.evaluate("document.getElementById('work').dataset.old = 'yes'")
        page.keyboard.press(right[sample])
        page.wait_for_selector("#work:not([data-old])", timeout=SOON)


def test_an_operator_lives_through_it_all_by_clicks(chromium: Browser, home: Path) -> None:
    right = homes.answers_of([*homes.domain("en"), *homes.domain("es")])
    rows = list(tri_digits.live("es", 90, seed=3))
    with running(home) as log:
        link = told(log, r"sign in once, when the dashboard is ready: (\S+)")
        told(log, r"dashboard: (ready)")
        service = told(log, r"service: ready at (\S+)/v1")
        told(log, r"runner: (ready)")
        base = link.partition("/sign-in")[0]
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(SOON)
        with Client(service) as client:
            page.goto(link)
            page.get_by_role("button", name="Sign in as owner").click()
            expect(page.get_by_role("heading", name="In service")).to_be_visible()

            before = ask(client, rows)  # the drift
            expect(page.get_by_role("link", name="embeddings drift").first).to_be_visible(timeout=LATER)

            page.goto(f"{base}/rounds")  # a round
            confirm(page, "Run a round now", "the arrivals are Spanish", "Ask for it")
            page.goto(f"{base}/labels")
            expect(page.get_by_text("round 2").first).to_be_visible(timeout=LATER)
            page.get_by_role("link", name="Start labelling").click()
            label_ten(page, right | logged(home, rows, before))

            page.goto(f"{base}/rounds/2")  # the gate
            expect(page.get_by_role("heading", name="The gate's evidence")).to_be_visible(timeout=LATER)
            expect(page.get_by_text("awaiting approval").first).to_be_visible(timeout=LATER)

            page.goto(f"{base}/versions/2")  # the approval, and the swap
            confirm(page, "Approve", "it knows Spanish")
            page.goto(base)
            expect(page.locator("main").get_by_role("link", name="v2", exact=True).first).to_be_visible()
            deadline = time.monotonic() + 60
            while client.versions().answering != 2:
                assert time.monotonic() < deadline, "the service did not follow"
                time.sleep(0.2)

            ask(
                client, rows, wanted=[str(answer.answer) for answer in before]
            )  # customers say that what v1 answered was right
            expect(page.locator("main").get_by_role("link", name="v1", exact=True).first).to_be_visible(timeout=LATER)
            page.goto(f"{base}/versions/2")
            expect(page.get_by_text("rolled back").first).to_be_visible(timeout=LATER)

            page.goto(f"{base}/alerts")  # a silence
            page.get_by_role("link", name="embeddings drift").first.click()
            page.get_by_role("button", name=re.compile("Silence")).first.click()
            page.get_by_role("dialog").get_by_label("Reason").fill("known, being worked on")
            page.get_by_role("dialog").get_by_role("button", name=re.compile("Silence")).click()
            expect(page.get_by_text(re.compile("silence", re.IGNORECASE)).first).to_be_visible()

            page.goto(f"{base}/schedules")  # a schedule that fires
            schedule_soon(page)
            deadline = time.monotonic() + LATER / 1000
            while not fired(page):
                assert time.monotonic() < deadline, "the schedule did not fire"
                time.sleep(1)
        context.close()


def schedule_soon(page: Page) -> None:
    """Add a schedule that falls due soon."""
    page.get_by_role("button", name="Add a schedule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("look-often")
    dialog.get_by_label("Starts").select_option("watch")
    dialog.get_by_label("or an interval").fill("15s")
    expect(dialog.get_by_role("status")).to_contain_text("15")
    dialog.get_by_label("Reason").fill("to see it fire")
    dialog.get_by_role("button", name="Add it").click()
    expect(page.locator("#schedule-look-often")).to_be_visible()


def fired(page: Page) -> bool:
    """Whether Prefect has run the flow to its end, on a page that is loaded again."""
    page.reload()
    return page.locator("tr", has_text="watch").filter(has_text="done").count() > 0
