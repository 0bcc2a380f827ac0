"""Heads, histories and epochs in one DynamoDB table, keyed by checkpoint and version.

Sort key 0 of a checkpoint is its head and 1, 2, … are its commits. Sort key 0 of ``pipeline#{name}`` holds
that pipeline's epoch and the names of its checkpoints; a checkpoint's own name starts with a bucket, which has no
``#``. What a restore took out is kept as a set of ranges: adding a range twice is adding it once.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, from_item, to_item
from services.runtime.checkpoints import Commit, Head
from services.runtime.failures import ConflictError, StaleLeaseError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

HEAD = 0
"""Sort key of a head; the version a head is at is its attribute ``head_version``."""


class DynamoCheckpoints:
    """``Checkpoints`` over one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    async def head(self, checkpoint: str) -> Head:
        """The head (consistent read); version 0 where there is none."""
        item = await tables.get(self._client, self._table, _key(checkpoint, HEAD))
        return _head(checkpoint, item or {})

    async def intend(self, head: Head, fencing_token: int) -> None:
        """Announce a commit on top of ``head``: conditional on its version and on no younger token.

        Raises:
            StaleLeaseError: a younger fencing token was seen.
            ConflictError: the head has moved on.
        """
        at_version = "#head_version = :expected"
        if head.version == 0:
            at_version = f"(attribute_not_exists(#head_version) OR {at_version})"
        no_younger = "(attribute_not_exists(#fencing_token) OR #fencing_token <= :token)"
        try:
            await self._update(
                head.checkpoint,
                sets={"fencing_token": fencing_token},
                condition=f"{at_version} AND {no_younger}",
                values={"expected": head.version, "token": fencing_token},
            )
        except ConflictError as error:
            seen = await self.head(head.checkpoint)
            if seen.fencing_token > fencing_token:
                raise StaleLeaseError(
                    f"{head.checkpoint}: token {fencing_token} is older than {seen.fencing_token}"
                ) from error
            raise ConflictError(
                f"{head.checkpoint}: the head is at version {seen.version}, not {head.version}"
            ) from error

    async def record(self, checkpoint: str, commit: Commit, undone: tuple[int, int] | None = None) -> None:
        """Put a commit that did happen into history and make it the head, unless the head is there already.

        Raises:
            ConflictError: history holds another commit under this version.
        """
        with translated(f"{checkpoint}: record version {commit.version} as commit {commit.commit_id}"):
            await self._client.put_item(
                TableName=self._table,
                Item=to_item(_key(checkpoint, commit.version) | asdict(commit)),
                ConditionExpression="attribute_not_exists(#commit_id) OR #commit_id = :commit_id",
                ExpressionAttributeNames={"#commit_id": "commit_id"},
                ExpressionAttributeValues=to_item({":commit_id": commit.commit_id}),
            )
        ranges = {"undone": {f"{undone[0]}-{undone[1]}"}} if undone else {}
        try:
            await self._update(
                checkpoint,
                sets={
                    "head_version": commit.version,
                    "etag": commit.etag,
                    "object_version": commit.object_version or "",
                    "manifest": commit.manifest,
                    "total_rows": commit.total_rows,
                    "max_cursor": commit.max_cursor or "",
                    "key_range": list(commit.key_range or ()),
                },
                adds=ranges,
                condition="attribute_not_exists(#head_version) OR #head_version < :version",
                values={"version": commit.version},
            )
        except ConflictError:
            # The head is there already, perhaps by this very write; only the range can still be missing.
            if ranges:
                await self._update(checkpoint, adds=ranges)

    async def history(self, checkpoint: str) -> list[Commit]:
        """Every commit, newest first."""
        found = tables.query(
            self._client,
            self._table,
            "#checkpoint = :checkpoint AND #version > :head",
            {"checkpoint": checkpoint, "head": HEAD},
            forward=False,
        )
        return [_commit(item) async for item in found]

    async def register(self, pipeline: str, checkpoint: str) -> None:
        """Make a checkpoint known as one of this pipeline's; safe to repeat."""
        await self._update(_pipeline(pipeline), adds={"checkpoints": {checkpoint}})

    async def begin(self, pipeline: str, note: str) -> None:
        """Note that a commit is about to be tried; safe to repeat."""
        await self._update(_pipeline(pipeline), adds={"begun": {note}})

    async def end(self, pipeline: str, note: str) -> None:
        """Take the note back; safe to repeat."""
        with translated(f"UpdateItem {self._table} {_pipeline(pipeline)}"):
            await self._client.update_item(
                TableName=self._table,
                Key=to_item(_key(_pipeline(pipeline), HEAD)),
                UpdateExpression="DELETE #begun :note",
                ExpressionAttributeNames={"#begun": "begun"},
                ExpressionAttributeValues=to_item({":note": {note}}),
            )

    async def epoch(self, pipeline: str) -> int:
        """The pipeline's current epoch of occurrence marks."""
        item = await tables.get(self._client, self._table, _key(_pipeline(pipeline), HEAD))
        return int((item or {}).get("epoch", 0))

    async def next_epoch(self, pipeline: str) -> int:
        """Start a new epoch and return it; an SDK retry may skip one, which is harmless."""
        return int((await self._update(_pipeline(pipeline), adds={"epoch": 1}))["epoch"])

    async def begun(self, pipeline: str) -> list[str]:
        """The notes of commits that were begun and not ended, in order (consistent read)."""
        item = await tables.get(self._client, self._table, _key(_pipeline(pipeline), HEAD))
        return sorted((item or {}).get("begun", ()))

    async def list(self, pipeline: str) -> list[Head]:
        """The heads of a pipeline's checkpoints, by name; without a commit it is at version 0."""
        item = await tables.get(self._client, self._table, _key(_pipeline(pipeline), HEAD))
        names = sorted((item or {}).get("checkpoints", ()))
        heads = await tables.batch_get(self._client, self._table, [_key(name, HEAD) for name in names])
        known = {head["checkpoint"]: head for head in heads}
        return [_head(name, known.get(name, {})) for name in names]

    async def _update(self, partition: str, **clauses: Item | str | None) -> Item:
        arguments = tables.update(self._table, _key(partition, HEAD), **clauses)  # type: ignore[arg-type]
        with translated(f"UpdateItem {self._table} {partition}"):
            answer = await self._client.update_item(**arguments, ReturnValues="ALL_NEW")
        return from_item(answer["Attributes"])


def _pipeline(name: str) -> str:
    return f"pipeline#{name}"


def _key(checkpoint: str, version: int) -> Item:
    return {"checkpoint": checkpoint, "version": version}


def _head(checkpoint: str, item: Item) -> Head:
    ranges = sorted(tuple(int(end) for end in text.split("-")) for text in item.get("undone", ()))
    return Head(
        checkpoint=checkpoint,
        version=item.get("head_version", 0),
        fencing_token=item.get("fencing_token", 0),
        etag=item.get("etag"),
        object_version=item.get("object_version") or None,
        manifest=item.get("manifest"),
        total_rows=item.get("total_rows", 0),
        max_cursor=item.get("max_cursor") or None,
        key_range=_range(item),
        undone=tuple((low, high) for low, high in ranges),
    )


def _commit(item: Item) -> Commit:
    known = {key: value for key, value in item.items() if key != "checkpoint"}
    return Commit(**{"object_version": None} | known | {"key_range": _range(item)})


def _range(item: Item) -> tuple[str, str] | None:
    found = item.get("key_range")
    return (found[0], found[1]) if found else None
