"""The seed's design, reading with fifty threads over one boto3 client with as many connections."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bench.visit_events.seed import main

THREADS = 50


def retrieve(client: Any, bucket: str, keys: Sequence[str]) -> Iterator[bytes]:
    """Read the objects side by side, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(partial(_read, client, bucket), keys)


def _read(client: Any, bucket: str, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


if __name__ == "__main__":
    main(retrieve, connections=THREADS)
