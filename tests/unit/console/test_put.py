"""Which files ``tidegate put`` uploads, and under which keys."""

from pathlib import Path

from services.console.commands.put import collect


def test_a_folder_is_read_recursively_in_order(tmp_path: Path) -> None:
    """Keys are the paths below the folder, with slashes; empty folders give nothing."""
    for name in ("b.json", "a.json", "deep/er/c.json", "deep/.hidden"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    (tmp_path / "empty").mkdir()
    assert collect(tmp_path) == [
        (key, tmp_path / key) for key in ("a.json", "b.json", "deep/.hidden", "deep/er/c.json")
    ]


def test_a_file_is_put_under_its_name(tmp_path: Path) -> None:
    """Wherever it lies."""
    path = tmp_path / "deep" / "a b+c.json"
    path.parent.mkdir()
    path.write_bytes(b"{}")
    assert collect(path) == [("a b+c.json", path)]


def test_an_empty_folder_has_no_files(tmp_path: Path) -> None:
    """The command then says so."""
    assert collect(tmp_path) == []
