"""Passwords and keys of the sample servers."""

import json
import re
import stat
from pathlib import Path

from services.console.local.credentials import API_SECRET, CHUNKS_SECRET, OWNER_SECRET, RDS_SECRET, Credentials


def test_they_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    """A later start finds the same ones; what a killed start left half written is made anew."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api-key.new").write_text("half")
    first = Credentials.of(tmp_path)
    values = [path.read_text() for path in (first.owner, first.ingest, first.api_key, first.chunks)]
    assert [path.read_text() for path in (first.owner, first.ingest, first.api_key, first.chunks)] == values
    again = Credentials.of(tmp_path)
    assert (again, again.api_key.read_text()) == (first, values[2])
    assert len(set(values)) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_the_documents_are_what_connections_need(tmp_path: Path) -> None:
    """The services connect with less rights than the shop itself; an API key is 48 letters and digits."""
    credentials = Credentials.of(tmp_path)
    documents = {name: json.loads(text) for name, text in credentials.documents(5433).items()}
    assert documents[RDS_SECRET] == {
        "host": "127.0.0.1",
        "port": 5433,
        "database": "shop",
        "username": "tidegate_ingest",
        "password": credentials.ingest.read_text(),
    }
    assert documents[OWNER_SECRET]["username"] == "postgres"
    report = documents[CHUNKS_SECRET]
    assert (report["database"], report["username"]) == ("home_care", "tidegate_chunks")
    assert report["password"] == credentials.chunks.read_text()
    assert re.fullmatch(r"[A-Za-z0-9]{48}", documents[API_SECRET]["api_key"])
