"""Routes whose handlers take the request and write the answer themselves: nothing is left for FastAPI to do but the
document, so its work at every request (dependencies, validation, exit stacks) is left out.
"""

from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import request_response


class DirectRoute(APIRoute):
    """For handlers `async def handler(request) -> Response`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        own = self.dependant
        if own.path_params or own.query_params or own.header_params or own.body_params or own.dependencies:
            raise ValueError(f"{self.path} takes more than the request. Let FastAPI call its handler.")
        self.app = request_response(self.endpoint)
