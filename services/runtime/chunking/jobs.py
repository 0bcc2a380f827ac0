"""Finding and reading chunked jobs: declarations with their SQL files beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.chunk_jobs import ChunkJob
from contracts.pipelines import InvalidPipelineError
from services.runtime.declarations import JOB_FILE, read_document
from services.runtime.failures import BadDeclarationError

PLACES = ("database", "analytics")
"""Tables of a declaration in which ``${NAME}`` stands for a variable of the environment."""


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A declaration with the texts of its files."""

    job: ChunkJob
    texts: Mapping[str, str]

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    def text(self, file: str) -> str:
        """The text of one of its files."""
        return self.texts[file]


def load_jobs(folder: Path, environ: Mapping[str, str]) -> dict[str, LoadedJob]:
    """Every chunked job of a folder of pipelines, by name: ``{folder}/{name}/job.toml``.

    Raises:
        BadDeclarationError: one of them is wrong, or a file that it names cannot be read; the text says where.
    """
    jobs = {}
    for path in sorted(folder.glob(f"*/{JOB_FILE}")):
        try:
            job = ChunkJob.parse(read_document(path, environ, PLACES), where=str(path))
        except InvalidPipelineError as error:
            raise BadDeclarationError(str(error)) from error
        if job.name != path.parent.name:
            raise BadDeclarationError(f"{path}: name: it is {job.name!r}, but its folder is {path.parent.name!r}")
        jobs[job.name] = LoadedJob(job, {file: _text(path, file) for file in job.files})
    return jobs


def _text(declaration: Path, file: str) -> str:
    path = declaration.parent / file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadDeclarationError(f"{declaration}: sql: {path}: {error}") from error
    if not text.strip():
        raise BadDeclarationError(f"{declaration}: sql: {path} is empty")
    return text
