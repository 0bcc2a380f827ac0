"""Writing the exported contracts and refusing changes that break them.

``python -m services.console.schemas export`` writes ``contracts/schemas``; ``check`` fails where the committed
files are not what the code exports, and where a contract cannot read what was written under its base.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.compatibility import incompatibilities
from contracts.exports import RETIRED, export_documents, render
from services.runtime.settings import PROJECT

Document = dict[str, Any]

FOLDER = Path("contracts/schemas")
DERIVED = frozenset({"asyncapi"})
"""Documents that follow from the others; a change of theirs alone breaks nobody."""


class BaseNotFoundError(Exception):
    """The base to compare with cannot be read; the text says why."""


def write_schemas(folder: Path) -> list[Path]:
    """Write every document and remove files that are exported no more; returns what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{name}.json": render(document) for name, document in export_documents().items()}
    changed = []
    for path in sorted(set(folder.glob("*.json")) - wanted.keys()):
        path.unlink()
        changed.append(path)
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed


def find_drift(folder: Path) -> list[str]:
    """One line for each file that is not what the code exports."""
    wanted = {f"{name}.json": render(document) for name, document in export_documents().items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    findings = [f"{name}: is missing; run `export`" for name in sorted(wanted.keys() - there.keys())]
    findings += [f"{name}: is exported no more; run `export`" for name in sorted(there.keys() - wanted.keys())]
    both = sorted(wanted.keys() & there.keys())
    return findings + [f"{n}: differs from the code; run `export`" for n in both if wanted[n] != there[n]]


def find_breaks(base: Mapping[str, Document], current: Mapping[str, Document]) -> list[str]:
    """One line for each way in which the current contracts fail those that wrote under the base."""
    return [
        finding
        for name in sorted(base.keys() - DERIVED)
        for finding in incompatibilities(name, base[name], current.get(name), retired=name in RETIRED)
    ]


def load_base(against: str | None, project: Path = PROJECT) -> tuple[str, dict[str, Document]]:
    """The contracts to compare with and where they came from.

    ``against`` is a folder or a git revision. Without it: the latest tag, else the point where the branch left
    the main line, else the previous commit. A checkout without history has no base.

    Raises:
        BaseNotFoundError: the named base does not exist, or holds a file that is not JSON.
    """
    if against is not None and Path(against).is_dir():
        return against, {p.stem: _parse(p.read_text(encoding="utf-8"), p) for p in Path(against).glob("*.json")}
    revision = against or _default_revision(project)
    if revision is None:
        return "nothing (no history)", {}
    if _git(project, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise BaseNotFoundError(f"{revision!r} is neither a folder nor a git revision here")
    listing = _git(project, "ls-tree", "--name-only", f"{revision}:./{FOLDER.as_posix()}") or ""
    documents = {}
    for name in listing.splitlines():
        if name.endswith(".json"):
            text = _git(project, "show", f"{revision}:./{FOLDER.as_posix()}/{name}") or ""
            documents[name.removesuffix(".json")] = _parse(text, f"{revision}:{name}")
    return revision, documents


def _default_revision(project: Path) -> str | None:
    tag = _git(project, "describe", "--tags", "--abbrev=0")
    if tag:
        return tag
    head = _git(project, "rev-parse", "--verify", "--quiet", "HEAD")
    for line in ("origin/main", "main"):
        fork = _git(project, "merge-base", "HEAD", line)
        if fork and fork != head:
            return fork
    return _git(project, "rev-parse", "--verify", "--quiet", "HEAD~")


def _git(project: Path, *arguments: str) -> str | None:
    """What git prints, or None if git is missing or says no."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(  # noqa: S603 - git itself, without a shell
        [git, "-C", str(project), *arguments], capture_output=True, check=False, encoding="utf-8"
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _parse(text: str, where: object) -> Document:
    try:
        document: Document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BaseNotFoundError(f"{where}: not JSON: {error}") from error
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``export`` or ``check``; 0 on success, 1 with findings, 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m services.console.schemas", description=__doc__)
    parser.add_argument("action", choices=["export", "check"])
    parser.add_argument("--against", metavar="DIR_OR_GIT_REV", help="base of `check`; default: tag or parent commit")
    parser.add_argument("--folder", type=Path, default=PROJECT / FOLDER, help="the exported files")
    options = parser.parse_args(arguments)
    if options.action == "export":
        changed = write_schemas(options.folder)
        sys.stdout.writelines(f"{path.name}\n" for path in changed)
        return 0
    try:
        source, base = load_base(options.against)
    except BaseNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    findings = find_drift(options.folder) + find_breaks(base, export_documents())
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.stderr.write(f"{len(base)} contracts compared with {source}: {len(findings)} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
