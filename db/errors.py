"""What can go wrong in the memory of the loop. A caller's wrong argument is a plain `ValueError`.

DatabaseError
├── DatabaseUnavailable      no connection, disk full, read-only, damaged: nothing was written, mend it and try again
│   └── DatabaseBusy         another writer held the lock too long, or two writers met: try again
├── SchemaMismatch           the tables are older or newer than the code
├── NotFound                 no row under this id (also a LookupError)
├── IllegalMove              a release, round or queue entry cannot go where it was sent
│   └── GenerationMoved      somebody else changed what is in service first
└── BlobError
    ├── BlobMissing          no blob under this digest (also a LookupError)
    ├── BlobCorrupt          the bytes do not hash to their name
    └── BlobStoreUnavailable no space, no permission, no connection
"""

from __future__ import annotations


class DatabaseError(Exception):
    """Root of the tree. Every message states the fact, the value and the mend."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, read or written. The transaction left nothing behind."""


class DatabaseBusy(DatabaseUnavailable):
    """Another transaction was in the way for too long. Nothing was written; the same call may simply be made again."""


class SchemaMismatch(DatabaseError):
    """The tables are not the ones this code was written for."""


class NotFound(DatabaseError, LookupError):
    """There is no such row."""


class IllegalMove(DatabaseError):
    """The move is not in the table of allowed moves, or the state has changed meanwhile. Nothing was written."""


class GenerationMoved(IllegalMove):
    """The version in service changed between looking and moving. Nothing was written."""


class BlobError(DatabaseError):
    """Something is wrong with stored bytes."""


class BlobMissing(BlobError, LookupError):
    """There are no bytes under this digest."""


class BlobCorrupt(BlobError):
    """The stored bytes are not the ones that were put."""


class BlobStoreUnavailable(BlobError):
    """The store cannot be read or written. No half-written blob is left under its name."""
