"""The service's log as JSON lines that never hold a payload: no inputs, no answers, no keys.

An exception is told by its type and where it arose. Its message is left out, because what failed often quotes what it
failed on, such as a statement with its values.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

FIELDS = ("request_id", "trace_id", "route", "status", "seconds", "key")
"""What requests add; `key` is the key's name, and `trace_id` is there only for what is traced."""
TALKERS = ("httpx", "httpcore", "asyncio", "multipart", "fsspec")
"""Libraries whose finer messages quote what passes through them."""


class JsonFormatter(logging.Formatter):
    """One record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, logger, message, what requests add, and the place of an exception."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = places(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def places(error: BaseException) -> list[dict[str, Any]]:
    """The types of an exception and of its causes, and the lines that they came through, innermost last.

    >>> try: {}["secret"]
    ... except KeyError as error: found = places(error)
    >>> found[0]["type"], "secret" in str(found)
    ('KeyError', False)
    """
    found, seen = [], set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.extract_tb(cause.__traceback__)
        at = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        found.append({"type": type(cause).__name__, "at": at})
        cause = cause.__cause__ or cause.__context__
    return found


def log_as_json(level: str, stream: TextIO | None = None) -> None:
    """Send the whole process's log to a stream (stderr) as JSON lines, from this level on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in TALKERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
