"""What can go wrong in the loop that a person can mend. Each message says the fact, the value and the mend.

LoopError
├── HomeError            the home cannot be written, or another process works in it (also an OSError)
├── NothingInService     no version was promoted yet (also a LookupError)
├── NothingToDo          the round would only repeat an earlier one, or there is none to go on with
├── FrozenPartMoved      a tuned model whose frozen part is not what it was; it is never registered
├── RegistryError        MLflow does not answer or refuses
└── ServerError          Prefect's server cannot be reached or started

A wrong argument or setting is a plain ``ValueError``.
"""


class LoopError(Exception):
    """Root of the tree."""


class HomeError(LoopError, OSError):
    """The home cannot be used; the message says why and how to mend it."""


class NothingInService(LoopError, LookupError):
    """No version has been promoted yet."""


class NothingToDo(LoopError):
    """A round that would only repeat an earlier one; the message names it."""


class FrozenPartMoved(LoopError):
    """A tuned model whose frozen part is not what it was; it is never registered."""


class RegistryError(LoopError):
    """MLflow cannot be reached, read or written. What it was told before stands; the same call may be made again."""


class ServerError(LoopError):
    """Prefect's server cannot be reached or started; the message says what to do."""
