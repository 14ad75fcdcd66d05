"""``python -m dashboards --wiring FILE``: serves the pages until told to stop. ``omniloop up`` keeps it running."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from dashboards.app import create_app
from dashboards.wiring import Wiring


def main(argv: Sequence[str] | None = None) -> int:
    """Serve with what the file says; it holds keys, so only its owner should be able to read it."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--wiring", type=Path, required=True, help="JSON that `omniloop up` writes")
    arguments = parser.parse_args(argv)
    wiring = Wiring.model_validate_json(arguments.wiring.read_bytes())
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        create_app(wiring),
        host=wiring.host,
        port=wiring.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
