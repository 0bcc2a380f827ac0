"""What the tests of collected pipelines share: a source of their own, the four services, and an independent look."""

import gzip
import io
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from services.console.session import Session
from services.runtime.settings import PROJECT
from tests.e2e.fleet import Fleet
from tests.socrata_support import SocrataServer

SERVICES = ("planner", "fetcher", "validator", "merger")
PIPELINE = "nyc_311"
REAL = PROJECT.parent / "shared" / "data" / "nyc311"


def declare(fleet: Fleet, server: SocrataServer, name: str, text: str) -> None:
    """Let workers and commands from now on know one more pipeline, whose source is this server."""
    folder = Path(fleet.settings.get("TIDEGATE_PIPELINES") or fleet.folder / "pipelines")
    folder.mkdir(exist_ok=True)
    tomllib.loads(text)
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    fleet.settings |= {"TIDEGATE_PIPELINES": str(folder), "SOCRATA_DOMAIN_URL": server.url}


def nyc_311(*, where: str = "status in ('Open', 'In Progress')", **source: int) -> str:
    """The shipped declaration with another condition and other numbers in its source."""
    lines = (PROJECT / "pipelines" / "nyc_311.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(" = ")[0] not in {"where", *source}]
    at = kept.index('kind = "socrata"') + 1
    added = [f'where = "{where}"', *(f"{name} = {value}" for name, value in source.items())]
    return "\n".join([*kept[:at], *added, *kept[at:]])


def start(fleet: Fleet) -> None:
    """One worker of each service."""
    for service in SERVICES:
        fleet.start(service)


async def output(session: Session, prefix: str = "processed/") -> pl.DataFrame:
    """Every row of the partition tree, read without the services' own code."""
    bucket = session.settings.resource("processed")
    frames = [
        pl.read_parquet(io.BytesIO((await session.objects.get(bucket, info.key)).body))
        async for info in session.objects.list(bucket, prefix)
    ]
    return pl.concat(frames)


def real_rows(*names: str) -> list[dict[str, Any]]:
    """Records as the city published them."""
    return [json.loads(line) for name in names for line in gzip.decompress((REAL / name).read_bytes()).splitlines()]


def keys_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Their unique keys, in order."""
    return sorted(row["unique_key"] for row in rows)
