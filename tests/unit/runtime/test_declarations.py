"""Finding pipeline declarations and the pipeline an object belongs to."""

from pathlib import Path

import pytest

from contracts.pipelines import Pipeline
from services.runtime.declarations import load_pipeline, load_pipelines, pipeline_for
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT


def declare(folder: Path, name: str, prefix: str = "events/", bucket: str = "", file: str = "") -> Path:
    """Write a small declaration; its file."""
    path = folder / (file or f"{name}.toml")
    source = f'bucket = "{bucket}"\n' if bucket else ""
    path.write_text(
        f'name = "{name}"\nentity = "events"\nrecord = "visit_event"\n'
        f'[source]\nkind = "objects"\nprefix = "{prefix}"\nkey_patterns = [\'.+\\.json\']\n{source}'
        '[target]\nkind = "checkpoint"\nkey = "out.parquet"\norder_by = "timestamp"\n',
        encoding="utf-8",
    )
    return path


def test_the_shipped_declarations_are_right() -> None:
    """The project's own folder loads, and each file is named after its pipeline."""
    pipelines = load_pipelines(PROJECT / "pipelines")
    assert (
        {path.stem for path in (PROJECT / "pipelines").glob("*.toml")}
        == pipelines.keys()
        == {"nyc_311", "visit_events"}
    )


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    """Every TOML file of the folder counts, and nothing else in it."""
    declare(tmp_path, "one")
    declare(tmp_path, "two")
    (tmp_path / "notes.md").write_text("not a declaration", encoding="utf-8")
    assert list(load_pipelines(tmp_path)) == ["one", "two"]


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """Two files with one name are an error that names the second."""
    declare(tmp_path, "one", file="a.toml")
    declare(tmp_path, "one", file="b.toml")
    with pytest.raises(BadDeclarationError, match=r"b\.toml: the name 'one' is taken"):
        load_pipelines(tmp_path)


@pytest.mark.parametrize("missing", [False, True])
def test_a_folder_without_declarations(tmp_path: Path, *, missing: bool) -> None:
    """A service with nothing to do is a mistake in its settings."""
    with pytest.raises(BadDeclarationError, match="no pipeline declarations"):
        load_pipelines(tmp_path / "nowhere" if missing else tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = ", "Invalid value"),
        (b"\xff\xfe", "can't decode"),
        (b'name = "one"', "entity: Field required"),
        (b'name = "One!"', "name: String should match pattern"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, reason: str) -> None:
    """Whatever is wrong with it."""
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    with pytest.raises(BadDeclarationError, match=reason) as caught:
        load_pipeline(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Reading one file by its path says which file."""
    with pytest.raises(BadDeclarationError, match=r"gone\.toml"):
        load_pipeline(tmp_path / "gone.toml")


@pytest.fixture
def nested(tmp_path: Path) -> dict[str, Pipeline]:
    """A pipeline over everything, one over a folder in it, and one over another bucket."""
    declare(tmp_path, "everything", prefix="")
    declare(tmp_path, "folder", prefix="events/")
    declare(tmp_path, "elsewhere", prefix="events/", bucket="other")
    return load_pipelines(tmp_path)


@pytest.mark.parametrize(
    ("bucket", "key", "expected"),
    [
        ("raw", "events/a.json", "folder"),
        ("raw", "eventsa.json", "everything"),
        ("raw", "a.json", "everything"),
        ("other", "events/a.json", "elsewhere"),
        ("other", "a.json", None),
        ("unknown", "events/a.json", None),
    ],
)
def test_an_object_belongs_to_the_longest_prefix_of_its_bucket(
    nested: dict[str, Pipeline], bucket: str, key: str, expected: str | None
) -> None:
    """An object that no pipeline reads belongs to none."""
    found = pipeline_for(nested, bucket, key, default_bucket="raw")
    assert (found and found.name) == expected


def test_two_tables_never_share_a_tree(tmp_path: Path) -> None:
    """What a table holds is asked of its files, so none of another may begin alike; elsewhere they may."""
    text = (PROJECT / "pipelines" / "nyc_311.toml").read_text(encoding="utf-8")
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    other = text.replace('name = "nyc_311"', 'name = "other"').replace("year={created_date:%Y}/", "y", 1)
    for key, bad in (("processed/{status}/", True), ("processed/year=", True), ("others/year=", False)):
        (tmp_path / "b.toml").write_text(other.replace("processed/y", key), encoding="utf-8")
        if bad:
            with pytest.raises(BadDeclarationError, match=r"b\.toml: target\.key: the files of 'nyc_311' begin alike"):
                load_pipelines(tmp_path)
        else:
            assert list(load_pipelines(tmp_path)) == ["nyc_311", "other"]
