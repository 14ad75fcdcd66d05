"""Nothing that we depend on may report home. The one place that says so; drivers call :func:`silence` before all else.

Each library has a switch of its own and reads it once, when it is imported, so this module imports none of them.
"""

import os
from collections.abc import Mapping, MutableMapping

OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",  # MLflow takes the word "true" alone, Prefect and Evidently take it too
    "EVIDENTLY_DISABLE_TELEMETRY": "1",
    "ITERATIVE_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Environment variable → the value that every library reading it takes for "off"."""


def silence(environ: MutableMapping[str, str] | None = None) -> None:
    """Switch all of it off, in this process and in every child it starts from now on.

    A value of the user's own is replaced too: ``DO_NOT_TRACK=1`` is meant as strictly, but MLflow does not heed it.

    >>> environ = {"DO_NOT_TRACK": "1"}
    >>> silence(environ)
    >>> environ["DO_NOT_TRACK"], environ["PREFECT_SERVER_ANALYTICS_ENABLED"]
    ('true', 'false')
    """
    (os.environ if environ is None else environ).update(OFF)


def talkers(environ: Mapping[str, str] | None = None) -> list[str]:
    """The names in :data:`OFF` that are not set to their value; empty when all is silent.

    >>> talkers({**OFF, "DO_NOT_TRACK": "0"})
    ['DO_NOT_TRACK']
    """
    present = os.environ if environ is None else environ
    return [name for name, value in OFF.items() if present.get(name) != value]
