"""The core: trip files of the NYC TLC, from the publisher to a warehouse, with no orchestrator in sight.

A trip file travels in steps, and every step can be repeated:

    >>> from include.nyc_taxi import Month, TripFile
    >>> file = TripFile("green", Month.parse("2024-01"))
    >>> file.name
    'green_tripdata_2024-01'

``source.fetch`` brings it into the lake's raw zone, ``landing.land`` turns it into canonical rows, and
``postgres.replace_month`` puts those into the warehouse.
"""

from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

__all__ = ["Month", "TripFile"]
