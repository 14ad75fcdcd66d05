"""A real flow that leaves a trace, for the tests of schedules and of the runner."""

import os
import time
from pathlib import Path

from prefect import flow


@flow(name="tick", persist_result=False)
def tick(folder: str, seconds: float = 0.0) -> None:
    """Leave a file named after this process in ``folder``, and take ``seconds``."""
    (Path(folder) / f"{os.getpid()}.ran").touch()
    time.sleep(seconds)
