"""Finding and reading chunked jobs: every mistake in a declaration is one clear line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.runtime.chunking.jobs import load_jobs
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT

GOOD = """\
name = "archive"
[database]
secret = "${SHOP_SECRET:-shop}"
[keys]
customer_id = { type = "bigint", plural = "customers" }
[sql]
distribution = "sql/keys.sql"
process = "sql/archive.sql"
"""
FILES = {"sql/keys.sql": "SELECT customer_id, count(*) AS rows", "sql/archive.sql": "UPDATE orders"}


def declare(folder: Path, text: str = GOOD, files: Mapping[str, str] = FILES, *, name: str = "archive") -> Path:
    """Write a declaration with its files; its folder."""
    job = folder / name
    for file, content in files.items():
        place = job / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    job.mkdir(exist_ok=True)
    (job / "job.toml").write_text(text, encoding="utf-8")
    return job


def test_the_shipped_job_is_right() -> None:
    """The conflict report loads with every file that it names."""
    jobs = load_jobs(PROJECT / "pipelines", {})
    assert list(jobs) == ["conflict_report"]
    loaded = jobs["conflict_report"]
    assert set(loaded.texts) == set(loaded.job.files)
    assert list(loaded.job.keys) == ["VisitDate", "SSN"]
    assert loaded.job.database.secret == "conflict-report-postgres"  # noqa: S105 - the name of a secret


def test_two_files_make_a_job(tmp_path: Path) -> None:
    """What is not declared has the usual numbers."""
    declare(tmp_path)
    loaded = load_jobs(tmp_path, {})["archive"]
    assert loaded.name == "archive"
    assert loaded.text("sql/archive.sql") == "UPDATE orders"
    chunks, window = loaded.job.chunks, loaded.job.window
    assert (chunks.target_rows, chunks.max_rows, chunks.max_keys, chunks.concurrency) == (10_000, 50_000, 1_000, 5)
    assert (window.lookback_years, window.lookahead_days) == (2, 30)


def test_places_come_from_the_environment(tmp_path: Path) -> None:
    """A secret's name is the deployment's business."""
    declare(tmp_path)
    assert load_jobs(tmp_path, {})["archive"].job.database.secret == "shop"  # noqa: S105 - the name of a secret
    loaded = load_jobs(tmp_path, {"SHOP_SECRET": "arn:aws:secretsmanager:x"})["archive"]
    assert loaded.job.database.secret == "arn:aws:secretsmanager:x"  # noqa: S105 - the name of a secret


def test_other_folders_are_no_jobs(tmp_path: Path) -> None:
    """Pipelines beside them, and folders without a declaration, are somebody else's."""
    (tmp_path / "visits.toml").write_text('name = "visits"', encoding="utf-8")
    (tmp_path / "notes").mkdir()
    assert load_jobs(tmp_path, {}) == {}


ORDERS = 'customer_id = { type = "bigint", plural = "customers" }'
MISTAKES = {
    "not TOML": (GOOD.replace("[keys]", "[keys"), r"job\.toml: .*line 4"),
    "no name": (GOOD.replace('name = "archive"', ""), r"job\.toml: name: Field required"),
    "another name": (GOOD.replace('"archive"', '"orders"'), r"name: it is 'orders', but its folder is 'archive'"),
    "a name that is none": (GOOD.replace('"archive"', '"Archive it"'), r"job\.toml: name: String should match"),
    "no database": (GOOD.replace("[database]", "[data]"), r"database: Field required; data: Extra inputs"),
    "a database that is a text": (
        GOOD.replace('[database]\nsecret = "${SHOP_SECRET:-shop}"', 'database = "shop"'),
        r"job\.toml: database: Input should be",
    ),
    "no keys": (GOOD.replace(ORDERS, ""), r"keys: Dictionary should have at least 1 item"),
    "a type that is none": (
        GOOD.replace('"bigint"', '"jsonb"'),
        r"keys\.customer_id\.type: Input should be 'small",
    ),
    "a key that is called like the count": (
        GOOD.replace("customer_id", "rows"),
        r"keys\.rows: the distribution's",
    ),
    "a misspelt field": (GOOD.replace("process =", "proces ="), r"sql\.process: Field required; sql\.proces: Extra"),
    "a file from the root": (GOOD.replace('"sql/keys.sql"', '"/keys.sql"'), r"sql\.distribution: String should match"),
    "a file that is no SQL": (GOOD.replace('"sql/keys.sql"', '"keys.txt"'), r"sql\.distribution: String should match"),
    "a file that is not there": (GOOD.replace("keys.sql", "none.sql"), r"job\.toml: sql: .*none\.sql: .*No such file"),
    "a file whose name cannot be one": (GOOD.replace("keys.sql", "\\u0000.sql"), r"job\.toml: sql: .*null byte"),
    "sizes that contradict": (
        GOOD + "[chunks]\ntarget_rows = 10\nmax_rows = 5\n",
        r"job\.toml: document: .*chunks\.max_rows is less than chunks\.target_rows",
    ),
    "no rows in a chunk": (
        GOOD + "[chunks]\ntarget_rows = 0\n",
        r"chunks\.target_rows: Input should be greater",
    ),
    "a limit for no table": (
        GOOD + "[health]\ndead_tuple_ratio = 0.5\n",
        r"health\.dead_tuple_ratio needs health",
    ),
    "a share over one": (
        GOOD + '[health]\ndead_tuple_ratio = 1.5\ntables = ["orders"]\n',
        r"health\.dead_tuple_ratio: Input should be less than or equal to 1",
    ),
    "a copy from nowhere": (
        GOOD + 'prepare = [{ query = { file = "sql/keys.sql" }, into = "orders" }]\n',
        r"sql\.prepare: a copy needs the analytics to copy from",
    ),
    "an argument that nobody gives": (
        GOOD + 'prepare = [{ file = "sql/keys.sql", given = ["today"] }]\n',
        r"sql\.prepare\.0\..*given\.0: Input should be 'run_id', 'first_day' or 'last_day'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(tmp_path: Path, mistake: str) -> None:
    """The file, the place in it, and what is wrong there."""
    text, says = MISTAKES[mistake]
    declare(tmp_path, text)
    with pytest.raises(BadDeclarationError, match=says) as refused:
        load_jobs(tmp_path, {})
    assert str(tmp_path / "archive" / "job.toml") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b" \n", b"SELECT '\xff'"])
def test_a_file_must_have_a_text(tmp_path: Path, content: bytes) -> None:
    """Empty files and files of other encodings are mistakes, not statements."""
    job = declare(tmp_path)
    (job / "sql" / "archive.sql").write_bytes(content)
    with pytest.raises(BadDeclarationError, match=r"job\.toml: sql: .*archive\.sql"):
        load_jobs(tmp_path, {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder that is called like a file is said to be one."""
    job = declare(tmp_path, files={"sql/keys.sql": "SELECT"})
    (job / "sql" / "archive.sql").mkdir()
    with pytest.raises(BadDeclarationError, match=r"archive\.sql: .*directory"):
        load_jobs(tmp_path, {})
