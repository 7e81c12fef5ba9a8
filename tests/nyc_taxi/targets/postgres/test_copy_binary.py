"""The server reads back every value that was encoded, whatever the nulls, the lengths of texts and the batches."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from include.nyc_taxi.targets.postgres.copy_binary import HEADER, TRAILER, Encoder

Row = tuple[Any, ...]
ReadBack = Callable[..., list[Row]]

SCHEMA = pa.schema(
    {
        "moment": pa.timestamp("us"),
        "small": pa.int16(),
        "middle": pa.int32(),
        "real": pa.float64(),
        "word": pa.string(),
        "letter": pa.string(),
    }
)
EARLIEST = -210_866_803_200_000_000  # of Postgres: 4714-11-24 BC, in microseconds since 1970
LATEST = 2**63 - 2  # of which `extract(epoch FROM ...)` still returns every microsecond
EPOCH = 946_684_800_000_000  # of Postgres: 2000-01-01
PIECE_BYTES = 3 << 20
VALUES = {
    "moment": st.integers(EARLIEST, LATEST),
    "small": st.integers(-(2**15), 2**15 - 1),
    "middle": st.integers(-(2**31), 2**31 - 1),
    "real": st.floats(),
    "word": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9),
    "letter": st.sampled_from("NY"),
}
ZEROS: Row = (0, 0, 0, 0.0, "", "N")
NULLS: Row = (None,) * len(SCHEMA)


@st.composite
def some_rows(draw: st.DrawFn) -> list[Row]:
    """Rows in which each column is without nulls, has some, or has no value at all."""
    columns = [draw(st.sampled_from([it, st.none() | it, st.none()])) for it in VALUES.values()]
    return draw(st.lists(st.tuples(*columns), max_size=40))


@pytest.fixture
def read_back(warehouse: str) -> Iterator[ReadBack]:
    """Sends batches over one encoder and returns the rows of the table; times are in microseconds since 1970."""
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE given (n serial, moment timestamp, small smallint, middle integer, real float8, word text, "
            "letter text)"
        )

        def read_back(*batches: pa.RecordBatch) -> list[Row]:
            connection.execute("TRUNCATE given")
            encoder = Encoder()
            with connection.cursor().copy(
                "COPY given (moment, small, middle, real, word, letter) FROM STDIN (FORMAT binary)"
            ) as copy:
                copy.write(HEADER)
                for batch in batches:
                    for piece in encoder.encode(batch):
                        copy.write(piece)
                copy.write(TRAILER)
            return connection.execute(
                "SELECT (extract(epoch FROM moment) * 1000000)::bigint, small, middle, real, word, letter FROM given "
                "ORDER BY n"
            ).fetchall()

        yield read_back


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ([] for _ in SCHEMA)
    return pa.record_batch([pa.array(it, field.type) for it, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def alike(rows: list[Row]) -> list[str]:
    """The rows such that NaN equals NaN and 0.0 does not equal -0.0."""
    return [repr(row) for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(rows=[], cuts=[0])
@example(rows=[ZEROS, ZEROS], cuts=[])
@example(rows=[NULLS, NULLS], cuts=[1])
@example(rows=[(EARLIEST, -(2**15), -(2**31), -0.0, "é\N{TAXI}", "Y"), NULLS, ZEROS], cuts=[1, 2])
@example(rows=[(LATEST, 2**15 - 1, 2**31 - 1, float("nan"), "", "N"), ZEROS], cuts=[])
@given(rows=some_rows(), cuts=st.lists(st.integers(0, 40), max_size=3))
def test_the_server_reads_back_what_was_encoded(read_back: ReadBack, rows: list[Row], cuts: list[int]):
    whole = batch_of(rows)
    ends = [*sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    starts = [0, *ends[:-1]]

    found = read_back(*(whole.slice(start, end - start) for start, end in zip(starts, ends, strict=True)))

    assert alike(found) == alike(rows)


def test_a_null_in_any_column_of_a_long_batch_stays_in_its_row(read_back: ReadBack):
    for place in range(len(SCHEMA)):
        rows: list[Row] = [(n, n, n, n / 8, f"word {n % 8}", "Y") for n in range(2000)]
        rows[::3] = [(*row[:place], None, *row[place + 1 :]) for row in rows[::3]]

        assert read_back(batch_of(rows).slice(7)) == rows[7:]


def test_bytes_behind_a_null_are_not_sent(read_back: ReadBack):
    columns = []
    for column in batch_of([(1, 1, 1, 1.0, "one", "Y"), (2, 2, 2, 2.0, "three", "N")]).columns:
        second_is_null = pa.py_buffer(b"\x01")
        columns.append(pa.Array.from_buffers(column.type, 2, [second_is_null, *column.buffers()[1:]]))

    assert read_back(pa.record_batch(columns, schema=SCHEMA)) == [(1, 1, 1, 1.0, "one", "Y"), NULLS]


def test_long_texts_are_sent_in_pieces_of_bounded_size(read_back: ReadBack):
    words = ["x" * length for length in (100_000, 0, 400_000, PIECE_BYTES + 1, *[90_000] * 40)]
    rows: list[Row] = [(n, n, n, float(n), word, "Y") for n, word in enumerate(words)]

    sizes = [len(piece) for piece in Encoder().encode(batch_of(rows))]

    assert [size > PIECE_BYTES for size in sizes].count(True) == 1
    assert sum(sizes) == sum(map(len, words)) + len(rows) * (2 + 6 * 4 + 8 + 2 + 4 + 8 + 1)
    assert read_back(batch_of(rows)) == rows


def test_a_time_that_postgres_does_not_have_is_refused(read_back: ReadBack):
    for moment in (-(2**63), -(2**63) + EPOCH, EARLIEST - 1):
        with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
            read_back(batch_of([(moment, *ZEROS[1:])]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.int64()),
        pa.array([1.0], pa.float32()),
        pa.array([date(2024, 1, 1)]),
        pa.array([0], pa.timestamp("ns")),
        pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        pa.array(["Y"], pa.large_string()),
        pa.array(["Y"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_another_type_is_refused_by_its_name(column: pa.Array):
    with pytest.raises(TypeError, match=r"column tip is of type"):
        list(Encoder().encode(pa.record_batch([column], ["tip"])))
