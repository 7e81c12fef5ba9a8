"""nyc_taxi: bring trip files of the NYC TLC from the publisher into the lake and on into other targets.

It does not know the orchestrator. A trip file travels in steps, and every step can be repeated:

    >>> from include.nyc_taxi import Month, TripFile
    >>> file = TripFile("green", Month.parse("2024-01"))
    >>> file.name
    'green_tripdata_2024-01'

``download.fetch`` downloads it into raw/ of the lake, ``landing.land`` turns it into accepted and rejected rows, and
``replace_month`` of a target in ``targets`` loads the accepted rows.
"""

from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

__all__ = ["Month", "TripFile"]
