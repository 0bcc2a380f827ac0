"""What an operator sees when something is wrong: an exit code and one readable line."""

import asyncio
import socket
from pathlib import Path

from tests.e2e.fleet import Fleet, one_error
from tests.e2e.world import PIPELINE

SOON_S = 20.0


async def test_a_wrong_declaration_names_its_file_and_place(fleet: Fleet, tmp_path: Path) -> None:
    """Wrong usage: exit code 2, and the line says which file is wrong, where and why."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "broken.toml").write_text('name = "broken"\nentity = "events"\nrecord = "visit_event"\n')
    ended = await fleet.tidegate("run", PIPELINE, TIDEGATE_PIPELINES=str(folder))
    assert ended.code == 2
    assert "broken.toml: source: Field required" in one_error(ended.err)


async def test_a_dead_endpoint_is_named_soon(fleet: Fleet) -> None:
    """Nobody listens at the endpoint: the commands give up soon and say where they looked."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can open this port meanwhile
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        commands = (["status"], ["run", PIPELINE], ["export", PIPELINE, "nowhere"])
        for ended in await asyncio.gather(*(fleet.tidegate(*c, AWS_ENDPOINT_URL=endpoint) for c in commands)):
            assert ended.code == 1
            assert endpoint in ended.err
            assert one_error(ended.err)
            assert ended.seconds < SOON_S


async def test_a_missing_source_bucket_fails_the_run(fleet: Fleet) -> None:
    """The run fails with a reason that names the bucket; the command exits with 1."""
    fleet.start("planner")
    ended = await fleet.tidegate("run", PIPELINE, "--payload", '{"source_bucket": "not-there"}', "--wait")
    assert ended.code == 1
    assert "not-there" in one_error(ended.err)


async def test_a_port_that_is_taken_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    """The stack is not started on a port that somebody else has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = await fleet.tidegate("local", "up", "--detach", "--port", port, "--data", tmp_path / "data")
    assert ended.code == 2
    assert f"port {port}" in one_error(ended.err)
