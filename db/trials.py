"""The ways in which a version may be tried on live traffic before it is promoted."""

from typing import Literal, get_args

Mode = Literal["canary", "shadow"]
"""`canary`: it answers a share of the requests. `shadow`: it answers a copy of them, and nobody is told."""

MODES: tuple[Mode, ...] = get_args(Mode)
