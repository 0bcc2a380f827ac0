"""The definitions of the state machines, as they are read from their files."""

import importlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator

import pytest

from contracts.catalog import CHUNK_COMMANDS
from contracts.chunk_jobs import ChunkJob
from contracts.chunks import ActionName, ActionPayload, ActionResult, ChunkOutcome
from contracts.envelope import Json, Message
from contracts.topology import TOPOLOGY
from services.console.local.machines import DEFINITIONS, definition_of, render
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT

URL = "http://localhost/queue"
ENDS = {"Succeed", "Fail"}
RETRY = [
    {"ErrorEquals": ["ChunkFailed", "RunCancelled", "ActionFailed"], "MaxAttempts": 0},
    {"ErrorEquals": ["RunPaused"], "IntervalSeconds": 30, "MaxAttempts": 100_000, "BackoffRate": 1.0},
    {"ErrorEquals": ["States.HeartbeatTimeout"], "IntervalSeconds": 2, "MaxAttempts": 6, "BackoffRate": 1.0},
    {
        "ErrorEquals": ["ChunkRetry", "States.TaskFailed", "States.Timeout"],
        "IntervalSeconds": 2,
        "MaxAttempts": 3,
        "BackoffRate": 2.0,
    },
]
"""The first that names an error decides about it: what must not be retried comes before what stands for every error."""

MACHINES = {machine.definition: machine for machine in TOPOLOGY.state_machines}
Graph = tuple[str, dict[str, Json]]


def graph(part: Json) -> Graph:
    """Where it starts, and its states."""
    return part["StartAt"], part["States"]


def graphs(file: str) -> list[Graph]:
    """The state machine, and what it does for each item."""
    definition = json.loads(definition_of(MACHINES[file], URL))
    inner = [graph(state["ItemProcessor"]) for state in definition["States"].values() if state["Type"] == "Map"]
    return [graph(definition), *inner]


def following(state: Json) -> Iterator[str]:
    """The names of the states that can come next."""
    for part in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (part[key] for key in ("Next", "Default") if key in part)


def tasks(file: str) -> dict[str, Json]:
    """Every Task of a definition, by its name."""
    return {name: state for _, states in graphs(file) for name, state in states.items() if state["Type"] == "Task"}


@pytest.fixture(params=sorted(MACHINES))
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def findings() -> Callable[[Json], list[str]]:
    """What breaks the schema of the Amazon States Language, which cfn-lint has, with keywords that only it knows."""
    read = importlib.import_module("cfnlint.helpers").load_resource
    schema = read(importlib.import_module("cfnlint.data.schemas.other.step_functions"), "statemachine.json")
    validator = importlib.import_module("cfnlint.jsonschema").StandardValidator(schema)

    def found(definition: Json) -> list[str]:
        return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(definition)]

    return found


def test_a_definition_keeps_the_schema_of_its_language(file: str, findings: Callable[[Json], list[str]]) -> None:
    """Every state has the fields that its type must have, and no other."""
    assert findings(json.loads(definition_of(MACHINES[file], URL))) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"Next": None}, ": Only one of ['Next', 'End'] is a required property"),
        ({"HeartbeatSeconds": "600"}, "/HeartbeatSeconds: '600' is not of type 'number'"),
        ({"Heartbeat": 600}, "/Heartbeat: Additional properties are not allowed"),
        ({"Retry": [{"MaxAttempts": 1}]}, "/Retry/0: 'ErrorEquals' is a required property"),
        ({"Type": "Tasks"}, "/Type: 'Tasks' is not one of"),
    ],
)
@pytest.mark.parametrize(
    "place", ["States/ExecuteTask01", "States/ProcessTask02Chunks/ItemProcessor/States/ProcessSingleChunk"]
)
def test_what_breaks_the_schema_is_found(
    place: str, change: dict[str, Json], finding: str, findings: Callable[[Json], list[str]]
) -> None:
    """At any depth, and before AWS refuses it in an apply."""
    definition = json.loads(definition_of(MACHINES["phase_2.asl.json"], URL))
    state = definition
    for name in place.split("/"):
        state = state[name]
    changed = {name: value for name, value in (state | change).items() if value is not None}
    state.clear()
    state.update(changed)
    [found] = findings(definition)
    assert found.startswith(f"{place}{finding}")


def test_every_state_is_reached_and_leads_to_an_end(file: str) -> None:
    """No name is misspelt, no state is left over, and only ends have nothing after them."""
    for start, states in graphs(file):
        reached, ahead = set[str](), [start]
        while ahead:
            name = ahead.pop()
            if name not in reached:
                reached.add(name)
                ahead.extend(following(states[name]))
        assert reached == set(states)
        for state in states.values():
            assert bool(list(following(state))) != (state["Type"] in ENDS or state.get("End", False))


def test_the_states_have_the_names_that_operators_know() -> None:
    """Both phases, step by step."""
    one, two = (graphs(name) for name in ("phase_1.asl.json", "phase_2.asl.json"))
    assert {"ValidateConfig", "ExecuteTask01", "ExecuteTask02", "Success"} <= set(one[0][1])
    outer = {"ValidateConfig", "ExecuteTask01", "GetTask02Chunks", "CheckIfChunksExist", "NoChunks", "Success"}
    assert outer | {"ProcessTask02Chunks", "ChunksFailed"} <= set(two[0][1])
    assert {"ProcessSingleChunk", "ChunkSuccess", "ChunkFailed"} <= set(two[1][1])


def test_as_many_chunks_at_a_time_as_the_job_declares() -> None:
    """MaxConcurrency and the declaration of the job say the same."""
    [mapping] = [state for state in graphs("phase_2.asl.json")[0][1].values() if state["Type"] == "Map"]
    path = PROJECT / "pipelines" / MACHINES["phase_2.asl.json"].pipeline / "job.toml"
    job = ChunkJob.parse(tomllib.loads(path.read_text(encoding="utf-8")), where=str(path))
    assert mapping["MaxConcurrency"] == job.chunks.concurrency == 5


def test_every_task_waits_for_an_answer_and_is_retried_alike(file: str) -> None:
    """A worker that falls silent is noticed long before the time is up; what an error means is the same everywhere."""
    assert tasks(file)
    for task in tasks(file).values():
        assert task["Resource"] == "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
        assert task["HeartbeatSeconds"] == 600
        assert task["TimeoutSeconds"] > 4 * task["HeartbeatSeconds"]
        assert task["Retry"] == RETRY


def test_every_task_sends_an_envelope(file: str) -> None:
    """All that a message needs, nothing that it does not know, and the token for the answer."""
    needed = {name for name, field in Message.model_fields.items() if field.is_required()}
    for task in tasks(file).values():
        assert task["Parameters"]["QueueUrl"] == URL
        message = task["Parameters"]["MessageBody"]
        model = CHUNK_COMMANDS[message["kind"]]
        assert {name.removesuffix(".$") for name in message} == needed
        assert message["schema_version"] == model.schema_version
        body = message["body"]
        assert {name.removesuffix(".$") for name in body} == set(model.model_fields)
        assert body["pipeline"] == MACHINES[file].pipeline
        assert body["task_token.$"] == "$$.Task.Token"
        if "payload" in body:
            assert {name.removesuffix(".$") for name in body["payload"]} < set(ActionPayload.model_fields)
            assert f"{body['pipeline']}/{ActionName(body['action'])}/" in message["dedup_id.$"]


def test_results_are_taken_from_fields_that_answers_have() -> None:
    """An answer without such a field would end an execution."""
    found = tasks("phase_2.asl.json")
    chunk, plan = (found[name]["ResultSelector"].values() for name in ("ProcessSingleChunk", "GetTask02Chunks"))
    assert {path.removeprefix("$.") for path in chunk} <= set(ChunkOutcome.model_fields)
    fields = {match[1] for path in plan for match in re.finditer(r"\$\.(\w+)", path)}
    assert fields == {"run_id", "details"} <= set(ActionResult.model_fields)


def test_a_definition_knows_no_place(file: str) -> None:
    """No account, no endpoint and no region; only what is filled in, where Terraform would see nothing else."""
    text = (DEFINITIONS / file).read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{\w+\}", text)) == {"${queue_url}", "${pipeline}"}
    assert text.count("${") == len(re.findall(r"\$\{\w+\}", text))
    assert "$${" not in text
    assert "%{" not in text
    assert not re.search(r"\d{12}|https?:|arn:(?!aws:states:::sqs:)", text)


def test_every_declared_state_machine_can_be_made() -> None:
    """Its file is there, its queue is declared, and no file is left over."""
    assert {path.name for path in DEFINITIONS.glob("*.asl.json")} == set(MACHINES)
    for machine in TOPOLOGY.state_machines:
        assert TOPOLOGY.queue(machine.queue).consumer == "chunk_worker"


@pytest.mark.parametrize(
    ("definition", "values", "reason"),
    [
        ('{"a": "${b}"}', {}, "to fill in"),
        ('{"a": "${b}"}', {"b": "1", "c": "2"}, "to fill in"),
        ('{"a": "${b}"}', {"b": '"'}, "not JSON"),
    ],
)
def test_what_cannot_be_filled_in_is_one_clear_error(definition: str, values: dict[str, str], reason: str) -> None:
    """A value too few, one too many, or one that breaks the text."""
    with pytest.raises(BadDeclarationError, match=reason):
        render(definition, **values)


def test_context_paths_are_left_alone() -> None:
    """Step Functions' own dollars are no placeholders."""
    assert render('{"a.$": "$$.Task.Token", "b": "${c}"}', c="d") == '{"a.$": "$$.Task.Token", "b": "d"}'
