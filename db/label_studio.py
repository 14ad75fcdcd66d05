"""Label Studio's format: our samples as its tasks, its labelling config for our answers, its annotations as our labels.

A task's `data` holds `sample_id`, `task`, `instruction`, `domain` and one key a modality: `text` as it stands, `image`,
`audio` and `video` as an address or a data URI. The config shows them and asks for one choice named `answer`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from db.records import Claim, Label, StoredSample, Task

ANSWER, SUBJECT = "answer", "instruction"
"""Names of the question and of what it is asked about, in the config and in results."""
TAGS = {"text": "Text", "image": "Image", "audio": "Audio", "video": "Video"}
"""Label Studio's tag for each modality."""
MAX_FAULTS_TOLD = 20


class ImportRefused(ValueError):
    """Some rows of an import cannot be used, so none was stored."""

    def __init__(self, faults: Sequence[str], num_rows: int) -> None:
        told = "\n".join(faults[:MAX_FAULTS_TOLD])
        more = f"\n… and {len(faults) - MAX_FAULTS_TOLD} more" if len(faults) > MAX_FAULTS_TOLD else ""
        super().__init__(
            f"Nothing was imported: {len(faults)} of {num_rows} rows cannot be used. Mend them and import again.\n"
            f"{told}{more}"
        )
        self.faults = tuple(faults)


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One answer of one annotator."""

    row: int
    """The task's place in the file, from 1."""
    sample_id: str
    answer: str
    annotator: str
    """Empty: the file does not say."""


def config(task: Task, modalities: Sequence[str]) -> str:
    """The labelling config: what is shown, and the answers as single choices.

    >>> print(config(Task(name="pet", instructions=("Which?",), answers=("cat", "<dog>")), ["image"]))
    <View>
      <Text name="instruction" value="$instruction" />
      <Image name="image" value="$image" />
      <Choices name="answer" toName="instruction" choice="single-radio" required="true">
        <Choice value="cat" />
        <Choice value="&lt;dog&gt;" />
      </Choices>
    </View>
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Text", name=SUBJECT, value="$instruction")
    for modality in modalities:
        if modality in TAGS:
            ElementTree.SubElement(view, TAGS[modality], name=modality, value=f"${modality}")
    told = {"name": ANSWER, "toName": SUBJECT, "choice": "single-radio", "required": "true"}
    choices = ElementTree.SubElement(view, "Choices", told)
    for answer in task.answers:
        ElementTree.SubElement(choices, "Choice", value=answer)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def task_of(
    sample: StoredSample, media: Mapping[str, str], *, label: Label | None = None, suggestions: Sequence[Claim] = ()
) -> dict[str, Any]:
    """A sample as a task: with an annotation if it has a label, with predictions if models suggest something."""
    about = {"sample_id": sample.id, "task": sample.task, "instruction": sample.instruction, "domain": sample.domain}
    made: dict[str, Any] = {"data": about | dict(media)}
    if label is not None:
        made["annotations"] = [{"result": result(label.answer), "was_cancelled": False}]
        made["meta"] = {"origin": label.origin}
    if suggestions:
        made["predictions"] = [
            {"model_version": claim.by, "score": claim.confidence, "result": result(claim.answer)}
            for claim in suggestions
            if claim.against == "suggestion"
        ]
    return made


def result(answer: str) -> list[dict[str, Any]]:
    """One answer as a result.

    >>> result("3")
    [{'from_name': 'answer', 'to_name': 'instruction', 'type': 'choices', 'value': {'choices': ['3']}}]
    """
    return [{"from_name": ANSWER, "to_name": SUBJECT, "type": "choices", "value": {"choices": [answer]}}]


def embedded(sample: StoredSample, get: Callable[[str], bytes], type_of: Callable[[bytes, str], str]) -> dict[str, str]:
    """The media of a sample inside the task itself: text as it stands, everything else as a data URI."""
    found = {}
    for modality, digest in sorted(sample.inputs.items()):
        data = get(digest)
        if modality == "text":
            found[modality] = data.decode("utf-8", errors="replace")
        else:
            kind = type_of(data, modality).partition(";")[0]
            found[modality] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return found


def read(content: bytes) -> list[Annotation]:
    """The annotations of an export (Label Studio's "JSON"), without skipped (cancelled) ones.

    `ImportRefused` names every row that cannot be read; `ValueError` if the file is no list of tasks at all.
    """
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The file is no JSON: {error}. Export it from Label Studio as JSON.") from error
    if not isinstance(tasks, list):
        raise ValueError(
            f"The file holds a {type(tasks).__name__}, not a list of tasks. Export it as JSON, not another."
        )
    found: list[Annotation] = []
    faults: list[str] = []
    for row, task in enumerate(tasks, start=1):
        try:
            found.extend(_annotations(row, task))
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            faults.append(f"task {row}: {_said(error)}")
    if faults:
        raise ImportRefused(faults, len(tasks))
    return found


def _annotations(row: int, task: Any) -> list[Annotation]:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise ValueError("there is no `data`; a task is an object with `data` and `annotations`")
    sample_id = task["data"].get("sample_id")
    if not isinstance(sample_id, str) or not sample_id:
        raise ValueError("`data.sample_id` does not name a sample; export the tasks from here")
    return [
        Annotation(row=row, sample_id=sample_id, answer=_answer(each), annotator=annotator(each.get("completed_by")))
        for each in task.get("annotations") or ()
        if not each.get("was_cancelled")
    ]


def _answer(annotation: Mapping[str, Any]) -> str:
    choices = [each for each in annotation["result"] if each.get("type") == "choices"]
    named = [each for each in choices if each.get("from_name") == ANSWER] or choices
    given = [answer for each in named for answer in each["value"]["choices"]]
    if len(given) != 1 or not isinstance(given[0], str):
        raise ValueError(f"an annotation must hold one choice named {ANSWER!r}, got {len(given)}")
    return given[0]


def annotator(completed_by: Any) -> str:
    """A name for who annotated, without what a name may not hold; empty if the file does not say.

    >>> annotator({"id": 3, "email": "ann@example.org"}), annotator(3), annotator(None), annotator({"id": 7})
    ('ann@example.org', 'annotator 3', '', 'annotator 7')
    """
    if isinstance(completed_by, dict):
        names = [str(completed_by[key]) for key in ("email", "username", "first_name") if completed_by.get(key)]
        completed_by = names[0] if names else completed_by.get("id")
    if completed_by is None:
        return ""
    name = f"annotator {completed_by}" if isinstance(completed_by, int) else str(completed_by)
    return name.replace(":", " ").strip()[:60]


def _said(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)
