"""What each check of ``tidegate doctor`` says of an answer, without an endpoint."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.runs import RunMode, RunState
from contracts.topology import TOPOLOGY
from services.console.commands.checks import clock, runs
from services.console.commands.checks.declared import Place, check_places, places_of, read_declarations
from services.console.commands.checks.findings import Finding, State, Verdict, aspects, looked
from services.console.commands.checks.functions import MB, layers, size
from services.console.commands.checks.queues import redrive
from services.console.commands.checks.secrets import secrets_of
from services.console.commands.checks.settings import known, lease, read_settings
from services.console.commands.checks.world import is_aws
from services.console.commands.doctor import summary
from services.runtime.failures import AccessDeniedError, MissingObjectError, PermanentError, UnreachableError
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT, Settings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENVIRON = {"PAYMENTS_API_URL": "http://api.example"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the declarations, to be broken."""
    return Path(shutil.copytree(PROJECT / "pipelines", tmp_path / "pipelines"))


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def troubled(folder: Path) -> list[tuple[str, State, str]]:
    """Every line that is not ok."""
    found = read_declarations(folder, ENVIRON).findings
    return [(each.check, each.state, each.found) for each in found if each.state is not State.OK]


def test_the_declarations_of_the_project_are_in_order(folder: Path) -> None:
    """Each file is one line, and all of them together one more."""
    declared = read_declarations(folder, ENVIRON)
    assert {each.state for each in declared.findings} == {State.OK}
    assert len(declared.findings) == 5
    assert "nyc_311" in declared.pipelines
    assert "conflict_report" in declared.jobs


def test_each_mistake_of_a_declaration_is_a_line(folder: Path) -> None:
    """Two mistakes in one file and one in another make three lines; none hides the next."""
    edit(folder / "nyc_311.toml", 'cursor = "created_date"', 'cursor = "created_date"\nrequests = 3')
    edit(folder / "nyc_311.toml", "max_records = 10_000", "max_records = 0")
    edit(folder / "visit_events.toml", "name = ", "name == ")
    found = troubled(folder)
    assert [check for check, _, _ in found] == ["declaration nyc_311.toml"] * 2 + ["declaration visit_events.toml"]
    assert {state for _, state, _ in found} == {State.FAILED}


def test_each_wrong_entity_of_a_group_is_a_line(folder: Path) -> None:
    """A group's entities are judged one by one."""
    edit(folder / "ecommerce.toml", 'key = ["customer_id"]', "key = []")
    edit(folder / "ecommerce.toml", 'key = ["order_id"]', "key = []")
    found = troubled(folder)
    assert ["customers" in text for _, _, text in found] == [True, False]
    assert len(found) == 2


def test_a_wrong_job_is_a_line(folder: Path) -> None:
    """A chunked job is judged like a pipeline, and a missing SQL file shows when all are loaded together."""
    edit(folder / "conflict_report" / "job.toml", "concurrency = 5", "concurrency = 0")
    assert [check for check, _, _ in troubled(folder)] == ["declaration conflict_report/job.toml"]
    edit(folder / "conflict_report" / "job.toml", "concurrency = 0", "concurrency = 5")
    (folder / "conflict_report" / "sql" / "finish.sql").unlink()
    assert [check for check, _, _ in troubled(folder)] == ["declarations together"]


def test_a_variable_without_a_value_is_a_warning_that_names_it(folder: Path) -> None:
    """What a declaration takes from the environment has to be there, or have a default."""
    found = [each for each in read_declarations(folder, {}).findings if each.state is not State.OK]
    assert [(each.check, each.state) for each in found] == [("declaration ecommerce.toml", State.WARNING)]
    assert "PAYMENTS_API_URL" in found[0].found


def test_the_places_of_the_project_do_not_overlap(folder: Path) -> None:
    """Sources that fetchers write may share a prefix: the names of their objects tell them apart."""
    declared = read_declarations(folder, ENVIRON)
    places = places_of(declared.pipelines.values(), Settings())
    assert [each.state for each in check_places(places)] == [State.OK]


@pytest.mark.parametrize(
    ("one", "other", "state"),
    [
        (Place("a", "source", "raw", "events/"), Place("b", "source", "raw", "events/b/"), State.FAILED),
        (Place("a", "source", "raw", ""), Place("b", "source", "raw", "raw/", shared=True), State.FAILED),
        (Place("a", "source", "raw", "events/"), Place("a", "target", "raw", "events/out/"), State.FAILED),
        (Place("a", "source", "raw", "events/"), Place("b", "source", "raw", "events2/"), State.OK),
        (Place("a", "source", "raw", "events/"), Place("b", "source", "other", "events/"), State.OK),
    ],
)
def test_a_place_inside_another_fails(one: Place, other: Place, state: State) -> None:
    """One pipeline must not read what another reads or writes; other buckets and other folders are fine."""
    assert [each.state for each in check_places([one, other])] == [state]


@pytest.mark.parametrize(
    ("skew_s", "state"),
    [(0, State.OK), (-4, State.OK), (30, State.WARNING), (-30, State.WARNING), (400, State.FAILED)],
)
def test_clock_skew(skew_s: float, state: State) -> None:
    """A few seconds are nothing; minutes stop every request."""
    header = format_datetime(NOON - timedelta(seconds=skew_s), usegmt=True)
    assert clock.judge(header, NOON).state is state


@pytest.mark.parametrize("header", [None, "yesterday"])
def test_an_endpoint_that_does_not_tell_the_time(header: str | None) -> None:
    """No Date header, or one that is no date, is not checked."""
    assert clock.judge(header, NOON).state is State.NOT_CHECKED


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (MissingObjectError("no such queue"), State.FAILED),
        (AccessDeniedError("not you"), State.NOT_CHECKED),
        (PermanentError("InternalFailure: not implemented"), State.NOT_CHECKED),
        (UnreachableError("no answer"), State.NOT_CHECKED),
    ],
)
def test_an_answer_that_is_none_is_never_a_pass(error: Exception, state: State) -> None:
    """What is missing fails; what an endpoint refuses, does not offer or does not answer is not checked."""

    async def refuse() -> Any:
        raise error

    async def work() -> list[Finding]:
        judges: dict[str, Callable[[Any], Verdict]] = {"retention": lambda _: pytest.fail("it was judged")}
        _, lines = await aspects("queue x", refuse(), judges)
        return [await looked("x", refuse()), *lines]

    found = asyncio.run(work())
    assert [each.state for each in found] == [state, state, State.NOT_CHECKED]
    assert str(error) in found[0].advice


def test_a_redrive_policy_that_cannot_be_read_is_not_checked() -> None:
    """A document that is no JSON is no reason to fail, nor to pass."""
    assert redrive({"RedrivePolicy": "["}, "x-dlq", 5).state is State.NOT_CHECKED


SIZES = {"functions": {"merger": {"unzipped_with_layers": 200 * MB, "layers": ["powertools", "data_arrow"]}}}
ATTACHED = [{"Arn": f"arn:aws:lambda:eu-west-1:1:layer:tidegate-{name}:4"} for name in ("powertools", "data_arrow")]


@pytest.mark.parametrize(
    ("zipped_mb", "sizes", "state"),
    [
        (1, SIZES, State.OK),
        (1, None, State.NOT_CHECKED),
        (300, None, State.FAILED),
        (1, {"functions": {"merger": {"unzipped_with_layers": 251 * MB}}}, State.FAILED),
    ],
)
def test_the_size_of_a_package(zipped_mb: int, sizes: dict[str, Any] | None, state: State) -> None:
    """Unzipped it must stay under Lambda's limit; without a build here, zipped sizes can only say no."""
    assert size({"CodeSize": zipped_mb * MB}, "merger", sizes).state is state


def test_the_layers_of_a_function() -> None:
    """A layer that its package was built for must be attached, and no more than Lambda takes."""
    assert layers(ATTACHED, "merger", SIZES).state is State.OK
    assert "data_arrow" in layers(ATTACHED[:1], "merger", SIZES).found
    assert layers(ATTACHED * 3, "merger", SIZES).state is State.FAILED
    assert layers(ATTACHED, "merger", None).state is State.NOT_CHECKED


def test_leases_of_workers_are_measured_in_receives() -> None:
    """A lease that costs half of a queue's receives when its holder dies is too long."""
    queues = [TOPOLOGY.queue("merge-segments")]
    assert lease(60.0, queues, worker_visibility_s=30).state is State.OK
    assert lease(400.0, queues, worker_visibility_s=30).state is State.FAILED


def test_variables_that_somebody_reads_are_known() -> None:
    """The SDK's, Lambda's and Powertools' own are fine; a misspelt one of ours is not."""
    assert known(["AWS_REGION", "POWERTOOLS_SERVICE_NAME", "TIDEGATE_STACK"], ["TIDEGATE_STACK"]).state is State.OK
    assert "TIDEGATE_STAKC" in known(["TIDEGATE_STAKC"], ["TIDEGATE_STACK"]).found


def test_every_service_reads_its_own_environment() -> None:
    """A value that a service refuses is told in its words; the others are not touched by it."""
    environs = {"merger": {"TIDEGATE_LEASE_TTL_S": "soon"}, "planner": {"TIDEGATE_STACK": "mine"}}
    found = asyncio.run(read_settings(environs))
    assert "TIDEGATE_LEASE_TTL_S" in found["merger"]["error"]
    assert found["planner"] | {"names": []} == {
        "names": [],
        "error": None,
        "values": {"stack": "mine", "lease_ttl_s": 60.0, "visibility_s": 30},
    }
    assert "LOAD_TYPE" in found["planner"]["names"]


def run(**changes: Any) -> Run:
    """An unfinished run that began at noon."""
    given = {"run_id": "r", "pipeline": "p", "mode": RunMode.SCAN, "state": RunState.RUNNING}
    return Run(**{**given, "started_at": NOON.isoformat(), **changes})


def test_runs_that_wait_for_a_person() -> None:
    """One that is blocked, paused or silent for an hour is a warning; one that moves is not."""
    later = NOON + timedelta(hours=3)
    assert runs.judge(run(), [], NOON).state is State.OK
    assert runs.judge(run(), [(later - timedelta(minutes=5)).isoformat()], later).state is State.OK
    assert "3.0 h" in runs.judge(run(), [""], later).found
    assert "403" in runs.judge(run(reason="403"), [], NOON).found
    assert "resume r" in runs.judge(run(paused=True), [], NOON).todo


def test_secrets_that_declarations_and_settings_name(folder: Path) -> None:
    """Each secret once, with everybody who needs it; what a job may do without is marked."""
    declared = read_declarations(folder, ENVIRON)
    environ = {"SOCRATA_APP_TOKEN": "secretsmanager:portal"}
    needed = secrets_of(declared.pipelines.values(), declared.jobs.values(), environ)
    assert needed["ecom-rds"] == [f"ecommerce.{name}" for name in ("customers", "products", "orders", "order_items")]
    assert needed["conflict-report-snowflake"] == ["conflict_report?"]
    assert needed["portal"] == ["SOCRATA_APP_TOKEN"]


def test_only_amazon_is_aws() -> None:
    """Its endpoints are told from others by their names."""
    assert is_aws("https://sqs.eu-central-1.amazonaws.com")
    assert not is_aws("http://localhost:4566")
    assert not is_aws("https://amazonaws.com.example.org")


def test_the_summary_counts_every_state() -> None:
    """One line says how many checks ended in which way, also those of which there are none."""
    found = [Finding("a", State.OK), Finding("b", State.FAILED)]
    assert summary(found) == "2 checks: 1 ok, 0 warning, 1 failed, 0 not checked"
