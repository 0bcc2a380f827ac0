"""One way of reading many small objects, by name; prints its rate and the CPU time a file costs.

Each design gets the same list of (key, version id) and gives the bytes back in order.
"""

import argparse
import asyncio
import importlib
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import boto3  # type: ignore[import-untyped, unused-ignore]
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from yarl import URL

from contracts.segments import Occurrence
from services.runtime.aws.bulk_reads import BulkS3Reader
from services.runtime.aws.clients import Clients

Versions = Sequence[tuple[str, str]]
Read = Callable[[Versions], Awaitable[Sequence[bytes]]]
Design = Callable[[argparse.Namespace], AbstractAsyncContextManager[Read]]
"""Opens what reading needs; only what it yields is timed."""


@asynccontextmanager
async def ours(options: argparse.Namespace) -> AsyncIterator[Read]:
    """Our adapter: aiohttp with our own signatures."""
    async with Clients() as clients, BulkS3Reader(clients.s3) as reader:

        async def read(versions: Versions) -> Sequence[bytes]:
            occurrences = [Occurrence(bucket=options.bucket, key=key, version_id=version) for key, version in versions]
            results = await reader.read_many(occurrences, in_flight=options.in_flight)
            return [result for result in results if isinstance(result, bytes)]

        yield read


@asynccontextmanager
async def aiohttp_botocore(options: argparse.Namespace) -> AsyncIterator[Read]:
    """Aiohttp with botocore's signer."""
    signer = S3SigV4Auth(Credentials("stub", "stub"), "s3", "us-east-1")
    connector = aiohttp.TCPConnector(limit=options.in_flight)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def one(key: str, version: str) -> bytes:
            url = f"{options.endpoint}/{options.bucket}/{quote(key)}?versionId={version}"
            request = AWSRequest("GET", url)
            signer.add_auth(request)
            async with session.get(URL(url, encoded=True), headers=dict(request.headers.items())) as answer:
                return await answer.read()

        yield partial(_side_by_side, one, options.in_flight)


@asynccontextmanager
async def aiobotocore(options: argparse.Namespace) -> AsyncIterator[Read]:
    """The asynchronous SDK's own GetObject."""
    async with Clients() as clients:

        async def one(key: str, version: str) -> bytes:
            answer = await clients.s3.get_object(Bucket=options.bucket, Key=key, VersionId=version)
            async with answer["Body"] as body:
                return await body.read()

        yield partial(_side_by_side, one, options.in_flight)


@asynccontextmanager
async def obstore_async(options: argparse.Namespace) -> AsyncIterator[Read]:
    """Rust's object_store through obstore's coroutines."""
    obstore, store = _obstore(options)

    async def one(key: str, version: str) -> bytes:
        result = await obstore.get_async(store, key, options={"version": version})
        return bytes(await result.bytes_async())

    yield partial(_side_by_side, one, options.in_flight)


@asynccontextmanager
async def obstore_threads(options: argparse.Namespace) -> AsyncIterator[Read]:
    """Rust's object_store through obstore's blocking calls, in threads."""
    obstore, store = _obstore(options)

    def one(key: str, version: str) -> bytes:
        return bytes(obstore.get(store, key, options={"version": version}).bytes())

    yield partial(_in_threads, one, options.in_flight)


@asynccontextmanager
async def boto3_threads(options: argparse.Namespace) -> AsyncIterator[Read]:
    """One boto3 client in threads."""
    client = boto3.client("s3", config=Config(max_pool_connections=options.in_flight))

    def one(key: str, version: str) -> bytes:
        body: bytes = client.get_object(Bucket=options.bucket, Key=key, VersionId=version)["Body"].read()
        return body

    yield partial(_in_threads, one, options.in_flight)


DESIGNS: dict[str, Design] = {
    "ours": ours,
    "aiohttp_botocore": aiohttp_botocore,
    "aiobotocore": aiobotocore,
    "obstore_async": obstore_async,
    "obstore_threads": obstore_threads,
    "boto3_threads": boto3_threads,
}


def _obstore(options: argparse.Namespace) -> tuple[Any, Any]:
    # Loaded by name: it is not a dependency of ours, only this comparison uses it.
    obstore, stores = importlib.import_module("obstore"), importlib.import_module("obstore.store")
    plain = {"allow_http": True}
    return obstore, stores.S3Store(options.bucket, endpoint=options.endpoint, client_options=plain)


async def _side_by_side(
    one: Callable[[str, str], Awaitable[bytes]], in_flight: int, versions: Versions
) -> Sequence[bytes]:
    results = [b""] * len(versions)
    waiting = iter(enumerate(versions))

    async def work() -> None:
        for index, (key, version) in waiting:
            results[index] = await one(key, version)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return results


async def _in_threads(one: Callable[[str, str], bytes], in_flight: int, versions: Versions) -> Sequence[bytes]:
    with ThreadPoolExecutor(in_flight) as pool:
        return list(pool.map(one, *zip(*versions, strict=True)))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """List, read with the design, print the costs of reading."""
    parser = argparse.ArgumentParser(description="Read every version of a bucket with one design.")
    parser.add_argument("design", choices=DESIGNS)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bucket", required=True)
    options = parser.parse_args()
    pages = boto3.client("s3").get_paginator("list_object_versions").paginate(Bucket=options.bucket)
    versions = [(found["Key"], found["VersionId"]) for page in pages for found in page["Versions"]]
    sys.stdout.write(json.dumps(asyncio.run(_measure(options, versions))) + "\n")


async def _measure(options: argparse.Namespace, versions: Versions) -> dict[str, float]:
    async with DESIGNS[options.design](options) as read:
        cpu_s, started = _cpu_s(), time.perf_counter()
        bodies = await read(versions)
        wall_s, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_s
    return {
        "files": len(bodies),
        "bytes": sum(map(len, bodies)),
        "files_per_s": len(bodies) / wall_s,
        "cpu_ms_per_file": 1000 * cpu_s / len(bodies),
    }


if __name__ == "__main__":
    main()
