"""``python -m flows.evidently_pages``: Evidently's own pages over every report, on this machine alone.

``omniloop up --evidently`` keeps it running. The workspace lies in the home; reports that are made while the pages run
are put into it by whoever makes them.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence

from flows.steps.reporting import WORKSPACE, fill_workspace
from flows.telemetry import silence
from flows.workspace import open_workspace

HOST = "127.0.0.1"


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the workspace of the home that ``OMNI_HOME`` names, then become Evidently's server."""
    parser = argparse.ArgumentParser(prog="python -m flows.evidently_pages", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args(argv)
    silence()
    ws = open_workspace()
    folder = ws.home / WORKSPACE
    folder.mkdir(exist_ok=True)
    fill_workspace(ws, folder)
    ws.database.close()
    os.environ["EVIDENTLY_SECRET"] = secrets.token_urlsafe()  # nobody needs to write through these pages
    command = [sys.executable, "-P", "-W", "ignore", "-m", "evidently.cli", "ui"]
    os.execv(sys.executable, [*command, "--workspace", str(folder), "--host", HOST, "--port", str(arguments.port)])


if __name__ == "__main__":
    sys.exit(main())
