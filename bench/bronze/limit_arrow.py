"""What one reader can make of it: the whole table as a binary COPY into Arrow batches, thrown away."""

from collections.abc import Mapping

from adbc_driver_postgresql import dbapi

from bench.bronze.job import Job, carry_out


def read(job: Job) -> Mapping[str, object]:
    """Read everything and keep nothing."""
    rows = 0
    with dbapi.connect(job.url) as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{job.table}"')  # noqa: S608 - our own word
        reader = cursor.fetch_record_batch()
        for batch in reader:
            rows += batch.num_rows
        reader.close()
    return {"rows": rows}


if __name__ == "__main__":
    carry_out(read)
