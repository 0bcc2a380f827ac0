"""Zips are the same, byte for byte, when they are made of the same."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from infra.packages.archives import write_archive
from infra.packages.build import Places, build_function
from infra.packages.declared import PROJECT
from tests.packaging.packages_support import PACKAGES


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what functions are cut from, with other times and modes, and with what running it leaves behind."""
    copy = tmp_path / "elsewhere"
    leave = shutil.ignore_patterns("__pycache__")
    for part in ("contracts", "services", "pipelines"):
        shutil.copytree(PROJECT / part, copy / part, ignore=leave, copy_function=shutil.copyfile)
    shutil.copy(PROJECT / "pyproject.toml", copy)
    for file in copy.rglob("*.py"):
        file.chmod(0o700)
        os.utime(file, (1, 1))
    for name in (
        "services/runtime/__pycache__/clock.cpython-312.pyc",
        "pipelines/__pycache__/a.pyc",
        "pipelines/.a.swp",
    ):
        file = copy / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"left behind")
    return copy


def test_a_function_is_the_same_wherever_it_is_built(project: Path, tmp_path: Path) -> None:
    """Neither the folder, nor times and modes of files, nor what Python left there shows in its zip."""
    places = [Places(output=tmp_path / name, wheels=tmp_path) for name in ("here", "there")]
    here = build_function("merger", PACKAGES.code, places[0])
    there = build_function("merger", PACKAGES.code, places[1], root=project)
    assert here.sha256 == there.sha256
    assert here.path.read_bytes() == there.path.read_bytes()
    assert here.zipped < 1_000_000


def test_entries_are_sorted_and_say_nothing_about_who_made_them(tmp_path: Path) -> None:
    """One time for all, readable for everybody, and no entries for folders."""
    files = {}
    for name in ("b/two.txt", "a.txt", "b/one.txt"):
        files[name] = tmp_path / name.replace("/", "-")
        files[name].write_text(name)
        files[name].chmod(0o600)
    archive = write_archive(tmp_path / "out" / "x.zip", files, comment="made of this")
    with zipfile.ZipFile(archive.path) as zipped:
        entries = zipped.infolist()
        assert zipped.read("b/one.txt") == b"b/one.txt"
    assert [entry.filename for entry in entries] == ["a.txt", "b/one.txt", "b/two.txt"]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert (archive.unzipped, archive.comment) == (23, "made of this")


def test_a_zip_is_complete_or_not_there(tmp_path: Path) -> None:
    """A build that fails half way leaves the zip of the one before, and nothing else."""
    good = tmp_path / "good.txt"
    good.write_text("good")
    before = write_archive(tmp_path / "out" / "x.zip", {"good.txt": good})
    with pytest.raises(FileNotFoundError):
        write_archive(before.path, {"a.txt": good, "lost.txt": tmp_path / "lost.txt"})
    assert [file.name for file in before.path.parent.iterdir()] == ["x.zip"]
    assert zipfile.ZipFile(before.path).namelist() == ["good.txt"]
