"""Which modules a service reaches, and what these import that is not ours, read from their text without running it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra.packages.declared import PackagingError

OURS = frozenset({"services", "contracts"})
_DYNAMIC = frozenset({"import_module", "__import__"})


@dataclass(frozen=True, slots=True)
class Reached:
    """Modules by dotted name with their files, and the names of foreign modules that they import.

    ``foreign`` are those that import statements name; ``asked_for`` those that calls name, where a declaration asks.
    """

    modules: dict[str, Path] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    asked_for: set[str] = field(default_factory=set)

    def packages(self) -> list[str]:
        """Those of the modules that are folders."""
        return sorted(name for name, file in self.modules.items() if file.name == "__init__.py")


def reach(service: str, root: Path) -> Reached:
    """Walk the imports of all modules of a service, those inside functions and those by literal name too.

    What is imported for type checking only is not followed: it is not there at run time.

    Raises:
        PackagingError: there is no such service, a module does not parse or is missing, or one is imported by a name
            that only a run can tell.
    """
    folder = root / "services" / service
    if not (folder / "__init__.py").is_file():
        raise PackagingError(f"{folder}: there is no such service")
    reached = Reached()
    waiting = [_dotted(file, root) for file in sorted(folder.rglob("*.py"))]
    while waiting:
        name = waiting.pop()
        if name in reached.modules:
            continue
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        file = _file(name, root)
        if file is None:
            if root.joinpath(*name.split(".")).is_dir():  # a folder without __init__.py imports like any other
                continue
            raise PackagingError(f"{name} is imported, and there is no such module")
        reached.modules[name] = file
        for imported, is_called in _imports(file, name):
            top = imported.partition(".")[0]
            if top in OURS:
                waiting.append(_module(imported, root))
            elif top not in sys.stdlib_module_names:
                (reached.asked_for if is_called else reached.foreign).add(imported)
    return reached


def _dotted(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _file(name: str, root: Path) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _module(imported: str, root: Path) -> str:
    """The module that an import loads: of ``from package import name`` the name may be a module or something in one."""
    return imported if _file(imported, root) is not None else imported.rpartition(".")[0]


def _imports(file: Path, name: str) -> Iterator[tuple[str, bool]]:
    """What a module imports, and whether a call does it."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise PackagingError(f"{file}: {error}") from error
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in _at_run_time(tree):
        match node:
            case ast.Import():
                yield from ((alias.name, False) for alias in node.names)
            case ast.ImportFrom():
                base = _base(node, package)
                yield from ((f"{base}.{alias.name}", False) for alias in node.names)
            case ast.Call() if _called(node.func) in _DYNAMIC:
                yield _literal(node, file), True


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, without the blocks that only a type checker reads."""
    yield node
    children: Iterator[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and _called(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    for child in children:
        yield from _at_run_time(child)


def _called(function: ast.expr) -> str | None:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    above = parents[: len(parents) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _literal(call: ast.Call, file: Path) -> str:
    match call.args:
        case [ast.Constant(value=str() as name), *_]:
            return name
        case _:
            raise PackagingError(
                f"{file}:{call.lineno}: what is imported here shows at run time only; name it literally"
            )
