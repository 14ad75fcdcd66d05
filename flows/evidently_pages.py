"""``python -m flows.evidently_pages``: Evidently's own pages over every report, on this machine alone.

``omniloop up --evidently`` keeps it running. The workspace lies in the home; reports that are made while the pages run
are put into it by whoever makes them, and shown after the pages' own button for it.
"""

import argparse
import os
import shutil
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
    shutil.rmtree(folder, ignore_errors=True)  # a copy of the reports, which stand in the blob store
    folder.mkdir()
    fill_workspace(ws, folder)
    ws.database.close()
    command = [sys.executable, "-P", "-W", "ignore", "-m", "evidently.cli", "ui"]
    os.execv(sys.executable, [*command, "--workspace", str(folder), "--host", HOST, "--port", str(arguments.port)])


if __name__ == "__main__":
    sys.exit(main())
