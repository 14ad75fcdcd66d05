"""What comes from others is what was recorded, whole, and named with its licence; nothing is fetched from elsewhere."""

import hashlib
import re
from pathlib import Path

from dashboards.rendering import STATIC
from tests.laws import ROOT

VENDOR = STATIC / "vendor"
TEMPLATES = ROOT / "dashboards" / "templates"


def recorded() -> dict[str, str]:
    rows = re.findall(r"^\| `(\S+)` \|.*\| `([0-9a-f]{64})` \|", (VENDOR / "NOTICE.md").read_text(), re.MULTILINE)
    return dict(rows)


def test_every_file_of_others_has_the_hash_that_was_recorded() -> None:
    files = {path.name: path for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert set(files) == set(recorded())
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded()[name], f"{name} was changed"


def test_pages_run_nothing_inline_and_fetch_nothing_from_elsewhere() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|hx-on|javascript:", re.IGNORECASE)
    elsewhere = re.compile(r"""(?:src|href|action)=["']https?://""")
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not inline.search(text), f"{path.name}: the content policy refuses {inline.search(text)}"
        assert not elsewhere.search(text), f"{path.name}: {elsewhere.search(text)}"


def test_no_template_switches_escaping_off() -> None:
    for path in TEMPLATES.rglob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text(encoding="utf-8")), path.name


def test_scripts_of_ours_build_no_html_from_text() -> None:
    for path in Path(STATIC).glob("*.js"):
        assert "innerHTML" not in path.read_text(encoding="utf-8"), path.name
