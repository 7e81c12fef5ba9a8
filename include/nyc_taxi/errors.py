"""What can go wrong with a trip file, split by the one question a scheduler asks: is another try worth it?

TaxiError
├── TransientError           another try may succeed
│   ├── SourceUnavailable    the server failed, stalled or cut the connection
│   │   └── SourceThrottled  the server asks us to slow down
│   ├── LakeUnavailable      the lake's store cut a transfer short, or a disk is full
│   ├── LakeChanged          a file of the lake was replaced while it was read
│   └── WarehouseBusy        a lock was not granted or the connection was lost
└── PermanentError           the same input gives the same error
    ├── NotPublished         the publisher has no such file (yet)
    ├── NotInLake            an earlier step of the month has not put its result into the lake
    ├── DamagedFile          the bytes are not the whole file they claim to be
    ├── SchemaMismatch       the file's columns or values are not what the catalogue knows
    ├── CountMismatch        rows were lost or doubled between two steps
    └── WarehouseRefused     the warehouse rejects what we ask: permission, an object in the way
"""

from __future__ import annotations


class TaxiError(Exception):
    """Any error that this bundle raises about data or the servers that hold it."""


class TransientError(TaxiError):
    """The cause may be gone at the next try."""


class PermanentError(TaxiError):
    """The cause lies in the input or the set-up; trying again gives the same error."""


class SourceUnavailable(TransientError):
    """The publisher's server failed, stalled or cut the connection."""


class SourceThrottled(SourceUnavailable):
    """The publisher's server answers, and asks us to slow down."""


class LakeUnavailable(TransientError):
    """The lake's store cut a transfer short, or the disk is full: what would be there is not what was sent."""


class LakeChanged(TransientError):
    """A file of the lake was replaced by another run while this one read it."""


class WarehouseBusy(TransientError):
    """A lock was not granted in time, or the connection was lost."""


class NotPublished(PermanentError):
    """The publisher has no such file, or not yet."""


class Superseded(TaxiError):
    """A newer edition, or what a person asked for later, is in place; nothing was changed."""


class NotInLake(PermanentError):
    """The lake does not hold what an earlier step puts there."""


class DamagedFile(PermanentError):
    """The bytes are not the whole file that they claim to be."""


class SchemaMismatch(PermanentError):
    """The columns, types or values of a file are not what the catalogue knows."""


class CountMismatch(PermanentError):
    """Rows were lost or doubled between two steps."""


class WarehouseRefused(PermanentError):
    """The warehouse rejects what we ask for: a missing right, an object of another kind in the way."""
