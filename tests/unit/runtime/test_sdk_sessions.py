"""Sessions of the SDK share what they read, and nothing else."""

import json
from pathlib import Path

import pytest

from services.runtime.aws.clients import sdk_session


@pytest.fixture(autouse=True)
def _usual_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DATA_PATH", raising=False)


def test_descriptions_are_read_once() -> None:
    """The second session gets the very description that the first one read, and the search does not grow."""
    first = sdk_session()._session.get_component("data_loader")
    read = first.load_service_model("sqs", "service-2")
    paths = first.search_paths
    for _ in range(3):
        again = sdk_session()._session.get_component("data_loader")
        assert again.load_service_model("sqs", "service-2") is read
        assert again.search_paths == paths


async def test_settings_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Region and endpoint are each session's own."""
    for region in ("eu-west-1", "us-east-1"):
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{region}.example.com")
        async with sdk_session().client("sqs") as sqs:
            assert (sqs.meta.region_name, sqs.meta.endpoint_url) == (region, f"http://{region}.example.com")


def test_descriptions_of_ones_own_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_DATA_PATH goes before what the SDK brings along, as it does without us."""
    folder = tmp_path / "sqs" / "2012-11-05"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps({"metadata": {"serviceFullName": "ours"}}))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    loader = sdk_session()._session.get_component("data_loader")
    assert loader.load_service_model("sqs", "service-2")["metadata"]["serviceFullName"] == "ours"
