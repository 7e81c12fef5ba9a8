"""damage: damage to a Parquet file: one flipped byte, of every kind that such a file has."""

import pyarrow as pa
from pyarrow import parquet

TAIL_BYTES = 8


def flipped(whole: bytes, at: int, bits: int = 1) -> bytes:
    """Return the bytes with some bits of one flipped."""
    return whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :]


def places(whole: bytes) -> dict[str, int]:
    """Return the place of a byte of each kind in a Parquet file."""
    file = parquet.ParquetFile(pa.BufferReader(whole))
    chunk = file.metadata.row_group(0).column(file.schema_arrow.get_field_index("trip_distance"))
    footer = len(whole) - TAIL_BYTES - int.from_bytes(whole[-TAIL_BYTES:-4], "little")
    first = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    return {
        "magic": 0,
        "header of a page": first + 1,
        "values of a page": chunk.data_page_offset + 40,
        "last byte of a column": first + chunk.total_compressed_size - 1,
        "start of the footer": footer,
        "name of a column": whole.index(b"trip_distance", footer) + 2,
        "description": whole.index(b'"rows_accepted": ', footer) + 17,
        "digest": whole.index(b"nyc_taxi_sha256", footer) + 20,
        "length of the footer": len(whole) - TAIL_BYTES,
        "last magic": len(whole) - 1,
    }


KINDS = [
    "magic",
    "header of a page",
    "values of a page",
    "last byte of a column",
    "start of the footer",
    "name of a column",
    "description",
    "digest",
    "length of the footer",
    "last magic",
]
