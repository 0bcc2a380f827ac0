"""Checkpoints that are damaged, and undoing what was committed."""

import asyncio
from collections import Counter
from pathlib import Path

from contracts.segments import MergeSegment
from services.console.demo.visit_events import Expected, generate
from services.runtime.ledger import Step
from tests.e2e.fleet import Fleet, eventually, one_error
from tests.e2e.world import PIPELINE, World

FLEET = ("planner", "validator", "merger")
WAITING = "checkpoint is damaged; its segments wait"
CURE = "`tidegate checkpoint restore`"


async def _damage(world: World, how: str) -> None:
    bucket, key = world.checkpoint.split("/", 1)
    if how == "deleted":
        await world.session.objects.delete(bucket, key)
        return
    whole = await world.session.objects.get(bucket, key)
    body = whole.body[: len(whole.body) // 2] if how == "truncated" else b"this was a checkpoint"
    metadata = whole.info.metadata if how == "truncated" else None
    await world.session.objects.put(bucket, key, body, metadata=metadata)


async def _found(world: World) -> tuple[str | None, list[tuple[int, str]]]:
    """What stands at the checkpoint's place, and its history."""
    info = await world.session.objects.head(*world.checkpoint.split("/", 1))
    return None if info is None else info.etag, await world.versions()


async def test_a_damaged_checkpoint_blocks_until_it_is_restored(world: World, fleet: Fleet, tmp_path: Path) -> None:
    """Nothing is merged onto damage: segments wait, the run and every command say why, one command cures it.

    Overwritten, truncated under its own stamp, deleted: each is noticed, none changes history.
    """
    uploads = generate(9, 60)
    for service in FLEET[1:]:
        fleet.start(service)
    merger = fleet.workers[-1]
    await world.put(uploads[:40])
    await world.idle()
    last = (await world.versions())[-1][0]
    for turn, how in enumerate(("garbage", "truncated", "deleted"), 1):
        await _damage(world, how)
        before = await _found(world)
        await (world.put(uploads[40:]) if turn == 1 else _announce_pending(world))
        await eventually(lambda turn=turn: len(merger.lines(WAITING)) >= turn, f"{how} is noticed")  # type: ignore[misc]
        line = merger.lines(WAITING)[-1]
        assert world.checkpoint in line["error"]
        assert CURE in line["error"]
        if turn == 1:
            await _operator_is_told(world, fleet, tmp_path)
        assert await _found(world) == before
        restored = await fleet.tidegate("checkpoint", "restore", PIPELINE, str(last))
        assert restored.code == 0, restored.err

    fleet.start("planner", TIDEGATE_STRANDED_AFTER_S="0")
    await world.scan()
    await world.settled()
    await world.check()


async def _announce_pending(world: World) -> None:
    """Have the merger look at the segments that wait before their delay is over."""
    for followed in await world.ledger():
        for segment in await world.session.ledger.segments(followed.run.run_id):
            if segment.step is Step.VALIDATED and segment.location is not None:
                bucket, key = segment.location.split("/", 1)
                await world.command("merge-segments", MergeSegment(bucket=bucket, key=key))


async def _operator_is_told(world: World, fleet: Fleet, folder: Path) -> None:
    """Waiting, exporting and asking fail with one line that names the checkpoint."""
    blocked, *others = await asyncio.gather(
        fleet.tidegate("wait", "--idle", "--timeout", "30"),
        fleet.tidegate("export", PIPELINE, folder / "out"),
        fleet.tidegate("query", PIPELINE, "completeness"),
    )
    assert blocked.code == 1
    assert "is blocked" in one_error(blocked.err)
    for ended in others:
        assert ended.code == 1
        assert f"s3://{world.checkpoint}" in one_error(ended.err)


async def test_an_undone_version_comes_back_with_the_next_scan_unless_it_is_discarded(
    world: World, fleet: Fleet
) -> None:
    """Restoring an earlier version takes the later rows out; a scan merges them again, or not with --discard."""
    first, second, third = (generate(90 + n, 25) for n in range(3))
    for service in FLEET:
        fleet.start(service)
    await world.put(first)
    await world.idle()
    good = str((await world.versions())[-1][0])
    before = Counter(await world.rows())
    await world.put(second)
    await world.idle()
    await world.check()

    restored = await fleet.tidegate("checkpoint", "restore", PIPELINE, good)
    assert restored.code == 0, restored.err
    assert Counter(await world.rows()) == before
    scan = await world.scan()
    world.merged_again = scan.table.records
    assert scan.table.records == Expected.of(second).merged
    await world.check()

    discarded = await fleet.tidegate("checkpoint", "restore", PIPELINE, good, "--discard")
    assert discarded.code == 0, discarded.err
    assert Counter(await world.rows()) == before
    world.left_out += [upload for upload in second if upload.expected == "merged"]
    await world.put(third)
    await world.idle()
    await world.check()
    assert (await world.scan()).table.records == 0
    await world.check()
