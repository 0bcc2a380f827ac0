"""Zips that are the same, byte for byte, whenever and wherever they are made from the same files."""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MOMENT = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644
"""A regular file that everybody may read: Lambda runs as a user of its own."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip on disk; sizes in bytes, ``unzipped`` without what a file system adds."""

    path: Path
    zipped: int
    unzipped: int
    sha256: str
    comment: str


def write_archive(path: Path, files: Mapping[str, Path], *, comment: str = "") -> Archive:
    """Zip files under the names given; the zip appears when it is complete, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            archive.comment = comment.encode()
            for name in sorted(files):
                _add(archive, name, files[name])
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return read_archive(path)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.create_system = _UNIX  # whatever system this is
    entry.external_attr = _MODE << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)


def read_archive(path: Path) -> Archive:
    """What there is to say about a zip.

    Raises:
        zipfile.BadZipFile: it is none.
        OSError: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        unzipped = sum(entry.file_size for entry in archive.infolist())
        comment = archive.comment.decode()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(path, path.stat().st_size, unzipped, digest, comment)
