"""The acts of the story. Each goes through the same flows and stores that production uses; only the world is staged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from db.records import Round
from db.repository import releases, rounds, samples, versions
from flows.demo.data import OPERATOR, ORIGIN, World, arrival, shifted
from flows.probation import probation
from flows.retrain import retrain
from flows.steps.answering import answer, give_feedback
from flows.steps.ingesting import add_task, ingest
from flows.steps.labelling import add_labels, waiting_for_labels
from flows.steps.reconciling import reconcile
from flows.workspace import Workspace, use
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest

LIVE_CHUNK = 120
"""Live samples that get feedback between two looks at the probation."""
MAX_LIVE_CHUNKS = 12
LABEL_SHARE = 0.3
"""Share of a new domain's training samples that is labelled."""


@dataclass
class Story:
    """The stage: a workspace, the world around it, and how to say what happens."""

    ws: Workspace
    world: World
    num_live: int = 0

    def heading(self, text: str) -> None:
        """Begin an act."""
        self.ws.reporter.say(f"\n[bold]{text}[/bold]")

    def run(
        self, flow: Callable[..., dict[str, Any]], ws: Workspace | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """Run a flow in the story's workspace."""
        with use(ws or self.ws):
            return flow(**parameters)

    # -- acts ------------------------------------------------------------------------------------------------------

    def first_version(self) -> None:
        """Base training on the first domain."""
        self.heading("1  The first version learns English digits")
        add_task(self.ws, tri_digits.TASK)
        self.ingest(["en"], with_answers=True)
        self.run(retrain, trigger="manual")

    def drift(self) -> None:
        """Spanish and French arrive; a few labels are enough; the new version proves itself on live traffic."""
        self.heading("2  Traffic drifts: Spanish and French arrive, unlabelled")
        self.ingest(["es", "fr"], with_answers=False)
        self.round(budget=self.budget(["es", "fr"]), trigger="drift")
        self.prove(["en", "es", "fr"])

    def damaged_candidate(self) -> None:
        """A mistyped learning rate ruins a candidate, and the gate refuses it."""
        self.heading("3  Italian arrives, and somebody mistypes the learning rate (0.3 for 0.003)")
        self.ingest(["it"], with_answers=False)
        settings = self.ws.settings
        typo = settings.model_copy(update={"elastic": replace(settings.elastic, learning_rate=0.3, gradient_clip=1e3)})
        round_ = self.round(budget=self.budget(["it"]), trigger="new_labels", settings=typo)
        why = "The labels are right; the learning rate was not."
        with self.ws.database.write() as session:
            rounds.lift_quarantine(session, round_.id, who=OPERATOR, why=why, now=self.ws.clock())
        self.ws.reporter.say(f"people      {OPERATOR} lifts the quarantine of round {round_.id}: {why}")

    def hidden_regression(self) -> None:
        """A label import is off by one for a domain that validation does not know yet: only live feedback can tell."""
        self.heading("4  Russian traffic arrives; its label import is off by one, and validation has no Russian yet")
        self.ingest(["ru"], with_answers=False)
        loop = replace(self.ws.settings.loop, validation_labels=0)
        wrong = {id_: shifted(right) for id_, right in self.world.answers.items() if id_.startswith("tri-ru-")}
        settings = self.ws.settings.model_copy(update={"loop": loop})
        round_ = self.round(budget=self.budget(["ru"]), trigger="schedule", settings=settings, answers=wrong)
        self.prove(["ru"])
        self.relabel(round_)

    def approval(self) -> None:
        """A second French voice arrives; this time a person approves."""
        self.heading("5  A second French voice arrives; the policy is now that a person approves")
        self.ingest(["fr2"], with_answers=False)
        loop = replace(self.ws.settings.loop, promotion="manual")
        settings = self.ws.settings.model_copy(update={"loop": loop})
        self.round(budget=self.budget(["fr2"]), trigger="manual", settings=settings)
        with self.ws.database.read() as session:
            waiting = versions.history(session, "awaiting_approval")[-1]
        why = "The comparison shows a gain on every new domain and no loss on the others."
        with self.ws.database.write() as session:
            releases.promote(session, waiting.version, who=OPERATOR, why=why, now=self.ws.clock())
        self.ws.reporter.say(f"people      {OPERATOR} approves v{waiting.version}: {why}")
        self.prove(list(tri_digits.DOMAINS))

    # -- what acts are made of -------------------------------------------------------------------------------------

    def ingest(self, domains: Sequence[str], *, with_answers: bool) -> None:
        """Domains arrive as a manifest with files."""
        folder = self.ws.home / "arrivals" / "-".join(domains)
        manifest = arrival(self.world, domains, folder, with_answers=with_answers)
        report = ingest(self.ws, manifest, with_answers=with_answers)
        self.ws.reporter.say(f"ingest      {', '.join(domains)}: {report}")

    def budget(self, domains: Sequence[str]) -> int:
        """Labels for new domains: ``LABEL_SHARE`` of their training samples."""
        return round(LABEL_SHARE * sum(len(self.world.split(domain, "train")) for domain in domains))

    def round(
        self, *, budget: int, trigger: str, settings: Any = None, answers: Mapping[str, str] | None = None
    ) -> Round:
        """One round: the flow selects and waits, labels arrive, the flow goes on to its decision."""
        settings = settings or self.ws.settings
        settings = settings.model_copy(update={"selection": replace(settings.selection, budget=budget)})
        ws = self.ws.with_(settings=settings)
        opened = self.run(retrain, ws, trigger=trigger)
        with self.ws.database.read() as session:
            round_ = rounds.get_round(session, opened["round"])
        asked = waiting_for_labels(self.ws, round_)
        known = {**self.world.answers, **(answers or {})}
        add_labels(self.ws, [(id_, known[id_]) for id_ in asked], origin=ORIGIN)
        self.ws.reporter.say(f"label       {len(asked)} labels arrive (from the data set's own answers)")
        self.run(retrain, ws, trigger="resume")
        with self.ws.database.read() as session:
            return rounds.get_round(session, round_.id)

    def prove(self, domains: Sequence[str]) -> None:
        """Live traffic with feedback until the version on probation is accepted or rolled back."""
        for _ in range(MAX_LIVE_CHUNKS):
            with self.ws.database.read() as session:
                on_probation = versions.on_probation(session)
            if on_probation is None:
                return
            self.num_live += 1
            live = self.world.live(domains, LIVE_CHUNK, seed=self.num_live)
            manifest = write_manifest(
                live, self.ws.home / "arrivals" / f"live-{self.num_live}", tasks=[tri_digits.TASK]
            )
            ingest(self.ws, manifest)
            ids = answer(self.ws, [sample.id for sample in live])
            give_feedback(self.ws, [(ids[sample.id], self.world.answers[sample.id]) for sample in live], origin=ORIGIN)
            self.run(probation)

    def relabel(self, round_: Round) -> None:
        """The import is mended: the quarantined labels are replaced by right ones, which later rounds may use."""
        with self.ws.database.read() as session:
            asked = [member.sample_id for member in rounds.round_samples(session, round_.id, "selected", "control")]
            known = [sample.id for sample in samples.get(session, asked)]
        num = add_labels(self.ws, [(id_, self.world.answers[id_]) for id_ in known], origin=ORIGIN)
        self.ws.reporter.say(f"people      {OPERATOR} mends the import: {num} labels of round {round_.id} replaced")


def tell(ws: Workspace, world: World) -> None:
    """All acts in their order."""
    story = Story(ws=ws, world=world)
    for act in (
        story.first_version,
        story.drift,
        story.damaged_candidate,
        story.hidden_regression,
        story.approval,
    ):
        act()
    reconcile(ws)
