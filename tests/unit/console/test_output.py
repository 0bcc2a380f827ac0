"""What commands print where there is no terminal."""

import json

import pytest

from services.console.output import as_rows, emit_json, emit_table, meter, note, say


def test_progress_is_a_line_at_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand steps are eleven lines on standard error, and nothing on standard output."""
    with meter("files put", 1_000) as progress:
        for done in range(1_001):
            progress.update(done)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"files put: {done} of 1000" for done in range(0, 1_001, 100)]
    assert captured.out == ""


def test_progress_of_a_total_that_comes_later(capsys: pytest.CaptureFixture[str]) -> None:
    """Until the total is known the count stands alone."""
    with meter("run r") as progress:
        for done, total in [(0, None), (0, 4), (1, 4), (1, 4), (4, 4)]:
            progress.update(done, total)
    assert capsys.readouterr().err.splitlines() == ["run r: 0", "run r: 1 of 4", "run r: 4 of 4"]


def test_progress_in_more_words(capsys: pytest.CaptureFixture[str]) -> None:
    """They stand in the place of the count, as often as it would."""
    with meter("run r") as progress:
        for done in (0, 0, 1, 2):
            progress.update(done, 2, f"{done} of 2 chunks, {done * 50} of 100 rows")
    assert capsys.readouterr().err.splitlines() == [
        f"run r: {done} of 2 chunks, {done * 50} of 100 rows" for done in range(3)
    ]


def test_progress_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A total of zero is no division by zero."""
    with meter("downloaded", 0) as progress:
        progress.update(0)
    assert capsys.readouterr().err.splitlines() == ["downloaded: 0 of 0"]


def test_results_and_notes_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Results on standard output, notes on standard error; neither is read as markup or broken into lines."""
    text = "[red]s3://bucket/" + "k" * 300 + "[/red] ✓ 12"
    say(text)
    note(text)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (text + "\n", text + "\n")


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Also with values that JSON has no word for, which become text."""
    emit_json({"at": ValueError("x"), "n": [1, None, "[red]"]})
    assert json.loads(capsys.readouterr().out) == {"at": "x", "n": [1, None, "[red]"]}


def test_a_table_shows_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers with separators, nothing for None, and no value read as markup."""
    emit_table("Title", ["name", "count"], [["[bold]a", 1_234_567], [None, 0]])
    out = capsys.readouterr().out
    assert "Title" in out
    assert "[bold]a" in out
    assert "1,234,567" in out
    assert "None" not in out


def test_rows_of_records() -> None:
    """Columns come from the first record; no records have none."""
    assert as_rows([{"a": 1, "b": 2}, {"a": 3, "b": 4}]) == (["a", "b"], [[1, 2], [3, 4]])
    assert as_rows([]) == ([], [])
