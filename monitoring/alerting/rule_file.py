"""Which rules are in force: those of the file that is named, else of the home's `rules.yaml`, else the program's."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from monitoring.alerting.reading import RulesError, default_text, parse_rules
from monitoring.alerting.rule import RuleSet

NAME = "rules.yaml"
"""The file in the home."""
MOST_BYTES = 200_000


@dataclass(frozen=True, kw_only=True)
class InForce:
    """A text of rules and where it comes from."""

    text: str
    path: Path | None
    """None: the rules that come with the program."""
    is_named: bool
    """The settings name the file, so that it is changed there and not here."""

    @property
    def digest(self) -> str:
        """Changes whenever the text does."""
        return digest_of(self.text)

    @property
    def where(self) -> str:
        """In words."""
        if self.path is None:
            return "the rules that come with the program"
        return f"{self.path}, which OMNI_ALERTING__RULES names" if self.is_named else f"{self.path}, saved here"

    def rules(self, receivers: Sequence[str] | None = None) -> RuleSet:
        """The rules, checked. `RulesError` says where they are with every fault."""
        try:
            return parse_rules(self.text, receivers=receivers)
        except RulesError as error:
            where = "the rules that come with the program" if self.path is None else str(self.path)
            raise RulesError([f"{where}: {fault}" for fault in error.faults]) from error


def in_force(home: Path, named: str = "") -> InForce:
    """The text in force now; read anew each time. `OSError` for a named file that cannot be read."""
    path = Path(named).expanduser() if named else home / NAME
    try:
        return InForce(text=path.read_text(encoding="utf-8"), path=path, is_named=bool(named))
    except FileNotFoundError:
        if named:
            raise
        return InForce(text=default_text(), path=None, is_named=False)


def digest_of(text: str) -> str:
    """SHA-256 of a text, in hexadecimal.

    >>> digest_of("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def save(home: Path, text: str) -> Path:
    """Put a text in force at once and entirely: a reader sees the old one or the new one."""
    place = home / NAME
    partial = place.with_suffix(f".{os.getpid()}.tmp")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(place)
    return place


def reset(home: Path) -> bool:
    """Take the file in the home away, so that the program's own rules are in force; False if there was none."""
    place = home / NAME
    was_there = place.exists()
    place.unlink(missing_ok=True)
    return was_there


def cleaned(text: str) -> str:
    """A text as it came from a browser, with the ends of lines that files have. `ValueError` if it is too long.

    >>> cleaned("rules:\\r\\n- name: x")
    'rules:\\n- name: x\\n'
    """
    plain = text.replace("\r\n", "\n").rstrip("\n") + "\n"
    if len(plain.encode()) > MOST_BYTES:
        raise ValueError(f"The rules have {len(plain.encode()):,} bytes; {MOST_BYTES:,} are the most. Shorten them.")
    return plain


def with_lines(text: str, faults: Sequence[str]) -> list[tuple[int | None, str]]:
    """Each fault with the line that it is on, counted from 1; None where it is on none alone.

    >>> with_lines("rules:\\n- name: slow\\n  metric: nothing\\n", ["rule 'slow': metric 'nothing' is not measured."])
    [(3, "rule 'slow': metric 'nothing' is not measured.")]
    """
    return [(_line(text, fault), fault) for fault in faults]


def _line(text: str, fault: str) -> int | None:
    told = re.search(r"line (\d+)", fault)
    if fault.startswith("This is no YAML"):
        return int(told[1]) if told else None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    found = re.match(r"(?:rule|inhibit) ('.*?'|\d+): (\w+)", fault)
    entries = _entries(root, "inhibit" if fault.startswith("inhibit") else "rules")
    if found is None:
        key = re.match(r"There is no key '(\w+)'|(\w+)", fault)
        return _key_line(root, (key[1] or key[2]) if key else "")
    for at, entry in enumerate(entries, 1):
        if found[1] in (str(at), repr(_value(entry, "name"))):
            return _key_line(entry, found[2]) or int(entry.start_mark.line) + 1
    return None


def _entries(root: yaml.Node | None, key: str) -> list[yaml.Node]:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next(
        (list(value.value) for name, value in pairs if name.value == key and isinstance(value, yaml.SequenceNode)), []
    )


def _value(entry: yaml.Node, key: str) -> str | None:
    pairs = entry.value if isinstance(entry, yaml.MappingNode) else []
    return next((str(value.value) for name, value in pairs if name.value == key), None)


def _key_line(entry: yaml.Node | None, key: str) -> int | None:
    pairs = entry.value if isinstance(entry, yaml.MappingNode) else []
    return next((int(name.start_mark.line) + 1 for name, _ in pairs if name.value == key), None)
