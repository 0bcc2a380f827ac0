"""Names that mean one thing each."""

from collections.abc import Collection
from pathlib import Path

import pytest

from services.console.session import check_names
from services.runtime.chunking.jobs import load_jobs
from services.runtime.declarations import load_groups, load_pipelines
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT


def test_what_is_shipped_has_names_of_its_own() -> None:
    """Pipelines, groups and jobs."""
    folder: Path = PROJECT / "pipelines"
    check_names(load_pipelines(folder, {}), load_groups(folder), load_jobs(folder, {}))


@pytest.mark.parametrize(
    ("pipelines", "groups", "jobs", "error"),
    [
        (["a"], [], ["a"], "a is the name of a chunked job and of a pipeline"),
        (["g.x"], ["g"], ["g"], "g is the name of a chunked job and of a pipeline"),
        (["pause"], [], [], "pause cannot be a name: `tidegate run pause RUN` is about a chunked run"),
        (["x.y"], ["resume"], [], "resume cannot be a name"),
        ([], [], ["cancel"], "cancel cannot be a name"),
    ],
)
def test_a_name_of_two_meanings_is_refused(
    pipelines: Collection[str], groups: Collection[str], jobs: Collection[str], error: str
) -> None:
    """With one line that says which."""
    with pytest.raises(BadDeclarationError, match=error):
        check_names(pipelines, groups, jobs)
