"""Both state machines of the conflict report with the real worker: in chunks, and in one piece."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.runs import RunState
from services.console.demo.home_care import HomeCare, fill
from services.console.local.machines import run_execution
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.integration.chunk_worker.worker_support import Deployment
from tests.integration.conflict_report.report_support import digest, sql
from tests.postgres_support import Database

VISITS = 3_000
SECRET = "conflict-report-postgres"  # noqa: S105 - its name


async def test_chunks_and_one_piece_come_to_the_same(
    stack: Stack, clients: Clients, database: Database, tmp_path: Path
) -> None:
    """Every row has what the one statement gives it, and both runs have ended well."""
    deployment = Deployment(stack, clients, tmp_path, PROJECT / "pipelines")
    await clients.secretsmanager.create_secret(Name=SECRET, SecretString=database.secret)
    connection = await database.connect()
    await connection.execute(sql("ddl"))
    await fill(connection, HomeCare(VISITS, datetime.now(UTC).date() - timedelta(days=60)))
    digests = []
    with deployment.worker():
        for machine, run_id in (("conflict-report-chunked", "in-chunks"), ("conflict-report", "in-one-piece")):
            document = {"run_id": run_id, "chunk": {"target_rows": 500}}
            ended = await run_execution(clients, stack.name, machine, document)
            assert ended["status"] == "SUCCEEDED", json.dumps(ended, default=str)
            assert (await deployment.run(run_id)).state is RunState.SUCCEEDED
            digests.append(await digest(connection))
    assert digests[0] == digests[1]
    done = await connection.fetch(
        "SELECT run_id, count(*), sum(updated_rows) FROM tidegate_chunks GROUP BY 1 ORDER BY 1"
    )
    assert [row["sum"] for row in done] == [VISITS, VISITS]
    assert done[0]["count"] >= VISITS / 500
    assert done[1]["count"] == 1
    await connection.close()
