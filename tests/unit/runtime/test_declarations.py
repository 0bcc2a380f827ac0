"""Finding pipeline declarations and the pipeline an object belongs to."""

from pathlib import Path

import pytest

from contracts.pipelines import Pipeline
from contracts.sources import PostgresSource
from services.runtime.declarations import load_groups, load_pipeline, load_pipelines, pipeline_for, unset_variable
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
    """The project's own folder loads, and each file is named after its pipeline or its group."""
    pipelines = load_pipelines(PROJECT / "pipelines")
    names = {pipeline.group or name for name, pipeline in pipelines.items()}
    assert {path.stem for path in (PROJECT / "pipelines").glob("*.toml")} == names
    assert names == {"ecommerce", "nyc_311", "visit_events"}


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


GROUP = """
name = "shop"
[sources.db]
kind = "postgres"
secret = "${DB_SECRET}"
database_schema = "${DB_SCHEMA:-public}"
cursor = "updated_at"
[target]
kind = "bronze"
bucket = "${LAKE:-}"
[entities.orders]
source = "db"
key = ["id"]
"""


def shop(folder: Path, **environ: str) -> Pipeline:
    """The one pipeline of a small group, with these variables."""
    (folder / "shop.toml").write_text(GROUP, encoding="utf-8")
    return load_pipelines(folder, environ)["shop.orders"]


def test_variables_stand_for_what_the_environment_says(tmp_path: Path) -> None:
    """In sources and targets; a default counts where nothing is set, and an empty one leaves the setting out."""
    orders = shop(tmp_path, DB_SECRET="arn:db", LAKE="lake")  # noqa: S106 - the name of a secret
    assert isinstance(orders.source, PostgresSource)
    assert (orders.source.secret, orders.source.database_schema, orders.target.bucket) == ("arn:db", "public", "lake")
    assert shop(tmp_path, DB_SECRET="x", DB_SCHEMA="").target.bucket is None  # noqa: S106 - as above


def test_a_variable_that_is_not_set_stays_and_can_be_named(tmp_path: Path) -> None:
    """Services that do not need it are not stopped by it; who does says which it is."""
    orders = shop(tmp_path)
    assert isinstance(orders.source, PostgresSource)
    assert unset_variable(orders.source.secret) == "DB_SECRET"
    assert unset_variable("arn:db") is None


def test_a_group_and_a_pipeline_cannot_share_a_name(tmp_path: Path) -> None:
    """A request could not say which it means."""
    shop(tmp_path)
    declare(tmp_path, "shop", file="z.toml")
    with pytest.raises(BadDeclarationError, match=r"z\.toml: the name 'shop' is taken by another file"):
        load_pipelines(tmp_path)


def test_groups_are_found_beside_pipelines(tmp_path: Path) -> None:
    """With the names of their entities' pipelines; a group that is wrong names its file."""
    shop(tmp_path)
    declare(tmp_path, "events")
    assert load_groups(tmp_path)["shop"].members == {"orders": "shop.orders"}
    (tmp_path / "shop.toml").write_text(GROUP.replace('source = "db"', 'source = "nowhere"'), encoding="utf-8")
    for load in (load_groups, load_pipelines):
        with pytest.raises(BadDeclarationError, match=r"shop\.toml: .*entities\.orders\.source: 'nowhere'"):
            load(tmp_path)


def test_a_raw_object_of_an_entity_belongs_to_it(tmp_path: Path) -> None:
    """Its key names the entity's pipeline, whatever it holds."""
    orders = shop(tmp_path)
    for suffix in ("land", "json.gz"):
        key = f"raw/2026/01/02/shop.orders/run-1.orders/0abc.{suffix}"
        assert pipeline_for({orders.name: orders}, "raw", key, default_bucket="raw") is orders
    assert pipeline_for({orders.name: orders}, "raw", "raw/2026/01/02/shop.x/r/s.land", default_bucket="raw") is None
