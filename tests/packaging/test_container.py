"""The container of the worker deployment, read as text: there is no Docker where tests run."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from infra.packages.build import function_files
from infra.packages.declared import PROJECT
from tests.packaging.packages_support import PACKAGES, SERVICES

DOCKERFILE = PROJECT / "infra/packages/Dockerfile"
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore")


def instructions() -> list[list[tuple[str, str]]]:
    """The stages of the container file, each as its instructions with their arguments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    stages: list[list[tuple[str, str]]] = [[]]
    for line in lines:
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments.strip()))
    return stages


def copied(stage: list[tuple[str, str]]) -> list[str]:
    """What a stage copies from the project."""
    return [source for name, text in stage if name == "COPY" and "--from" not in text for source in text.split()[:-1]]


def is_sent(name: str) -> bool:
    """Whether the ignore file lets a path of the project into the build; its last pattern that matches decides."""
    sent = True
    for line in IGNORED.read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        if pattern.startswith("**/"):
            matches = pattern.removeprefix("**/") in name.split("/")
        else:
            matches = fnmatchcase(name, pattern) or name.startswith(f"{pattern}/")
        if matches:
            sent = line.startswith("!")
    return sent


def test_it_starts_from_a_slim_python_without_a_digest() -> None:
    """The version of Python is the one that Lambda has, and may be chosen."""
    before, libraries, worker = instructions()
    assert before == [("ARG", f"PYTHON={PACKAGES.python}")]
    assert [libraries[0], worker[0]] == [
        ("FROM", "python:${PYTHON}-slim AS libraries"),
        ("FROM", "python:${PYTHON}-slim"),
    ]


def test_a_worker_is_not_root() -> None:
    """The user is set after everything that has to be root, and by a number that is not 0."""
    worker = instructions()[-1]
    user = next(index for index, (name, _) in enumerate(worker) if name == "USER")
    assert int(worker[user][1]) > 0
    assert {name for name, _ in worker[user:]} <= {"USER", "ENTRYPOINT", "CMD"}


def test_libraries_come_from_the_pins_with_their_hashes() -> None:
    """And are installed in a stage that is thrown away, so nothing of pip's is in the image."""
    _, libraries, worker = instructions()
    (run,) = [text for name, text in libraries if name == "RUN"]
    assert "--require-hashes -r /requirements/runtime.txt" in run
    assert ("COPY", "--from=libraries /libraries /libraries") in worker
    assert [text for name, text in worker if name == "RUN"] == ["useradd --uid 10001 --create-home tidegate"]


def test_nothing_comes_from_an_address() -> None:
    """No ADD, no download, no package of the system."""
    assert all(name != "ADD" for stage in instructions() for name, _ in stage)
    assert not re.search(r"https?:|curl|wget|apt-get|apk ", DOCKERFILE.read_text())


def test_it_copies_what_is_there() -> None:
    """Each source exists and is sent to the build."""
    sources = [source for stage in instructions() for source in copied(stage)]
    assert [source for source in sources if not (PROJECT / source).exists()] == []
    assert [source for source in sources if not is_sent(source)] == []


def test_it_has_what_workers_need() -> None:
    """Folders that a worker reaches, no others; all files of theirs, and neither the console nor bytecode."""
    needed = {name for service in SERVICES for name in function_files(service, PACKAGES.code)}
    assert set(copied(instructions()[-1])) == {name.split("/")[0] for name in needed}
    assert [name for name in needed if not is_sent(name)] == []
    assert not any(
        map(is_sent, ["services/console/cli.py", "services/runtime/__pycache__/clock.pyc", ".git/config", "README.md"])
    )


@pytest.mark.parametrize("service", SERVICES)
def test_its_command_is_a_worker(service: str) -> None:
    """The image runs any worker by its module, the planner's unless told."""
    worker = dict(instructions()[-1])
    assert worker["ENTRYPOINT"] == '["python", "-m"]'
    assert worker["CMD"] == '["services.planner.worker"]'
    assert Path(PROJECT, "services", service, "worker.py").is_file()
