"""``python -m flows.service``: the live service as ``omniloop up`` runs it."""

import logging
import sys

from flows.home import HomeError
from flows.reporter import LogReporter
from flows.service.json_log import log_as_json
from flows.service.running import serve
from flows.settings import Settings
from flows.telemetry import silence
from flows.workspace import open_workspace


def main() -> int:
    """Run until a signal; returns the exit code."""
    silence()
    settings = Settings.load()
    log_as_json(settings.log_level)
    ws = open_workspace(settings, LogReporter(logging.getLogger("omniloop")))
    try:
        serve(ws, logging.getLogger("omniloop").warning)
    except (HomeError, ValueError) as error:
        logging.getLogger("omniloop").error("%s", error)
        return 1
    finally:
        ws.database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
