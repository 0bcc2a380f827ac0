"""The exported documents, and the command that writes and checks them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.asyncapi import CONSUMES, EMITS, NOTIFICATION, build_asyncapi
from contracts.catalog import FACTS, MESSAGES
from contracts.exports import export_documents, render, topology_document
from contracts.records import RECORDS
from contracts.topology import TOPOLOGY, Topology
from services.console.schemas import FOLDER, BaseNotFoundError, find_breaks, find_drift, load_base, main, write_schemas
from services.runtime.settings import PROJECT


def test_every_contract_is_exported() -> None:
    """Messages, envelope, records, the declaration, the topology and the flow each have a document."""
    names = export_documents().keys()
    assert names >= {*MESSAGES, *RECORDS, "envelope", "pipeline", "topology", "asyncapi"}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_an_exported_message_carries_its_schema_version(name: str) -> None:
    """Whoever reads the schema knows which version of the message it describes."""
    assert export_documents()[name]["schema_version"] == MESSAGES[name].schema_version


@pytest.mark.parametrize("name", sorted(export_documents().keys() - {"topology", "asyncapi"}))
def test_exported_schemas_are_json_schema(name: str) -> None:
    """Each one is a valid schema of the dialect it names."""
    document = export_documents()[name]
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"{name}.json"


def test_committed_files_are_what_the_code_exports() -> None:
    """Nobody edits them by hand and nobody forgets to export."""
    assert find_drift(PROJECT / FOLDER) == []


def test_the_text_of_a_document_does_not_depend_on_the_order_of_its_keys() -> None:
    """Keys are sorted, the text ends with a newline, and letters stay letters."""
    assert render({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_the_exported_topology_holds_what_follows_from_it() -> None:
    """Terraform and the stacks find visibility and DLQ names ready, and can read the rest back as the model."""
    document = topology_document()
    for queue in document["queues"]:
        declared = TOPOLOGY.queue(queue["name"])
        assert queue["visibility_timeout_s"] == declared.visibility_timeout_s
        assert queue["dlq"] == f"{declared.name}-dlq"
    assert document["name_template"].format(stack="tidegate", name="ledger") == "tidegate-ledger"
    assert Topology.model_validate(document, extra="ignore") == TOPOLOGY


def references(node: Any) -> Iterator[str]:
    """Every ``$ref`` in a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_of_the_flow_leads_somewhere() -> None:
    """Channels, messages and payload files that the AsyncAPI document names exist."""
    document = build_asyncapi()
    files = {f"{name}.json" for name in export_documents()}
    for reference in references(document):
        if reference.startswith("#/"):
            node = document
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]
        else:
            assert reference in files


def test_every_message_is_sent_by_someone_and_every_command_is_read_by_someone() -> None:
    """The flow has no dead ends: facts leave on the topic, commands reach the consumer of their queue."""
    sent = {kind for channels in EMITS.values() for kinds in channels.values() for kind in kinds}
    assert sent == {*MESSAGES, NOTIFICATION}
    assert {kind for kinds in CONSUMES.values() for kind in kinds} == {*MESSAGES.keys() - FACTS.keys(), NOTIFICATION}
    for channels in EMITS.values():
        for channel, kinds in channels.items():
            if channel in {queue.name for queue in TOPOLOGY.queues}:
                assert set(kinds) <= set(CONSUMES[TOPOLOGY.queue(channel).consumer])


def test_export_writes_what_check_accepts(tmp_path: Path) -> None:
    """A fresh export has no drift, a second one changes nothing, and stale files go."""
    (tmp_path / "Gone.json").write_text("{}", encoding="utf-8")
    assert "Gone.json: is exported no more; run `export`" in find_drift(tmp_path)
    assert write_schemas(tmp_path)
    assert find_drift(tmp_path) == []
    assert write_schemas(tmp_path) == []


def test_check_names_each_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed, a missing and a foreign file are one line each, and the exit status is 1."""
    write_schemas(tmp_path)
    (tmp_path / "envelope.json").write_text("{}\n", encoding="utf-8")
    (tmp_path / "PlanRun.json").unlink()
    (tmp_path / "Foreign.json").write_text("{}\n", encoding="utf-8")
    assert main(["check", "--folder", str(tmp_path), "--against", str(PROJECT / FOLDER)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "PlanRun.json: is missing; run `export`",
        "Foreign.json: is exported no more; run `export`",
        "envelope.json: differs from the code; run `export`",
    ]


def test_check_refuses_an_incompatible_change_against_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base with one field more than today makes the check fail with that field's name."""
    write_schemas(tmp_path)
    base = json.loads((tmp_path / "PlanRun.json").read_text(encoding="utf-8"))
    base["properties"]["priority"] = {"type": "integer"}
    (tmp_path / "PlanRun.json").write_text(render(base), encoding="utf-8")
    assert main(["check", "--against", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "PlanRun: priority was removed without a higher schema_version than 1\n"


def test_the_flow_itself_is_never_incompatible() -> None:
    """AsyncAPI follows from the messages and the topology, which are compared themselves."""
    assert find_breaks({"asyncapi": {"channels": {}}}, {}) == []


def test_an_unknown_base_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A base that is neither a folder nor a revision exits with 2 and says so in one line."""
    assert main(["check", "--against", "no-such-revision"]) == 2
    assert capsys.readouterr().err == "'no-such-revision' is neither a folder nor a git revision here\n"


def git(folder: Path, *arguments: str) -> None:
    program = shutil.which("git")
    assert program is not None
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run([program, "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A repository whose contract had 1, then 2, then 3 as its title, one commit each."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / FOLDER).mkdir(parents=True)
    for title in ("1", "2", "3"):
        (tmp_path / FOLDER / "Thing.json").write_text(json.dumps({"title": title}), encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "--message", title)
    return tmp_path


def test_the_default_base_is_the_parent_commit(history: Path) -> None:
    """Without a tag and on the main line, what the last commit changed is judged."""
    assert load_base(None, history)[1] == {"Thing": {"title": "2"}}


def test_the_default_base_is_the_latest_tag(history: Path) -> None:
    """A release is what others rely on, so it comes before the parent commit."""
    git(history, "tag", "v1", "HEAD~2")
    assert load_base(None, history) == ("v1", {"Thing": {"title": "1"}})


def test_the_default_base_of_a_branch_is_where_it_left_the_main_line(history: Path) -> None:
    """All commits of a branch are judged together."""
    git(history, "checkout", "--quiet", "-b", "feature")
    for number in range(2):
        git(history, "commit", "--quiet", "--allow-empty", "--message", str(number))
    assert load_base(None, history)[1] == {"Thing": {"title": "3"}}


def test_a_named_revision_is_the_base(history: Path) -> None:
    """``--against`` takes whatever git understands."""
    assert load_base("HEAD~2", history) == ("HEAD~2", {"Thing": {"title": "1"}})


def test_a_revision_without_contracts_has_nothing_to_break(history: Path) -> None:
    """The first commit that exports contracts is compatible with the one before it."""
    git(history, "rm", "-r", "--quiet", FOLDER.as_posix())
    git(history, "commit", "--quiet", "--message", "gone")
    assert load_base("HEAD", history) == ("HEAD", {})


def test_a_base_that_is_not_json_is_named(history: Path) -> None:
    """A damaged base stops the check instead of passing for an empty one."""
    (history / FOLDER / "Thing.json").write_text("{", encoding="utf-8")
    git(history, "commit", "--quiet", "--all", "--message", "damaged")
    with pytest.raises(BaseNotFoundError, match=r"HEAD:Thing\.json: not JSON"):
        load_base("HEAD", history)


def test_a_folder_without_history_has_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source archive can still be checked for drift."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert load_base(None, tmp_path) == ("nothing (no history)", {})
