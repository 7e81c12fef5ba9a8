"""errors: what can go wrong with a trip file, split by whether a retry may succeed.

TaxiError
├── TransientError           a retry may succeed
│   ├── SourceUnavailable    the publisher's server failed, stalled or cut the connection
│   │   └── SourceThrottled  the publisher's server asks us to slow down
│   ├── LakeUnavailable      a transfer to or from the lake was incomplete, or a disk is full
│   ├── LakeChanged          another run replaced a file of the lake while this run used it
│   ├── DamagedData          a file of data/ or rejects/ was damaged and set aside; the next run lands it again
│   └── WarehouseBusy        a lock was not granted in time, or the connection was lost
├── Superseded               a newer edition, or what a person asked for later, is in place; nothing was changed
└── PermanentError           a retry gives the same error
    ├── NotPublished         the publisher does not have the file, or not yet
    ├── NotInLake            an earlier step has not written its result into the lake
    ├── ShrunkenEdition      a republished file lost too many rows to replace the earlier edition by itself
    ├── DamagedFile          the file is cut, empty or not of its format
    ├── TooLarge             the file is far larger than any known one, or would become so when it is inflated
    ├── Implausible          most pickups of the file lie in another month, or none of its rows is accepted
    ├── SchemaMismatch       the catalogue does not have the file's columns, types or values
    ├── CountMismatch        rows were lost or duplicated between two steps
    └── SetUpError           a connection, a Variable, a server or a folder must be set up in another way first
        ├── OutOfMemory      the process gets no more memory, or an earlier try of it was killed for that
        └── WarehouseRefused the warehouse rejects the request: a missing right, another object in the way
"""

from __future__ import annotations


class TaxiError(Exception):
    """Every error that this bundle raises about data or about the servers that hold it."""


class TransientError(TaxiError):
    """A retry may succeed."""


class PermanentError(TaxiError):
    """A retry gives the same error, because the input or the set-up causes it."""


class SourceUnavailable(TransientError):
    """The publisher's server failed, stalled or cut the connection."""


class SourceThrottled(SourceUnavailable):
    """The publisher's server asks us to slow down."""


class LakeUnavailable(TransientError):
    """A transfer to or from the lake was incomplete, or a disk is full."""


class LakeChanged(TransientError):
    """Another run replaced a file of the lake while this run used it."""


class DamagedData(TransientError):
    """A file of data/ or rejects/ was damaged and set aside; the next run lands it again from its edition."""


class WarehouseBusy(TransientError):
    """A lock was not granted in time, or the connection was lost."""


class NotPublished(PermanentError):
    """The publisher does not have the file, or not yet."""


class Superseded(TaxiError):
    """A newer edition, or what a person asked for later, is in place; nothing was changed."""


class NotInLake(PermanentError):
    """An earlier step has not written its result into the lake."""


class DamagedFile(PermanentError):
    """The file is cut, empty or not of its format."""


class TooLarge(PermanentError):
    """The file is far larger than any known one, or would become so when it is inflated."""


class Implausible(PermanentError):
    """Most pickups of the file lie in another month, or none of its rows is accepted."""


class ShrunkenEdition(PermanentError):
    """A republished file lost too many rows to replace the earlier edition by itself."""


class SchemaMismatch(PermanentError):
    """The catalogue does not have the file's columns, types or values."""


class CountMismatch(PermanentError):
    """Rows were lost or duplicated between two steps."""


class SetUpError(PermanentError):
    """A connection, a Variable, a server or a folder must be set up in another way first."""


class OutOfMemory(SetUpError):
    """The process gets no more memory, or an earlier try of it was killed because the machine had none left."""


class WarehouseRefused(SetUpError):
    """The warehouse rejects the request: a right is missing, or an object of another kind is in the way."""
