"""The seed's design, reading one file after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.visit_events.seed import main


def retrieve(client: Any, bucket: str, keys: Sequence[str]) -> Iterator[bytes]:
    """Read the objects in order."""
    for key in keys:
        yield client.get_object(Bucket=bucket, Key=key)["Body"].read()


if __name__ == "__main__":
    main(retrieve, connections=10)
