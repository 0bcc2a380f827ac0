"""Which modules a service reaches, read from their text."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.packages.declared import PackagingError
from infra.packages.modules import reach


def written(files: Mapping[str, str], root: Path) -> Path:
    """A project of a service ``s``, the runtime and the contracts."""
    for name in ("services/__init__.py", "services/s/__init__.py", "services/runtime/__init__.py", *files):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files.get(name, ""))
    return root


def test_only_what_is_imported_is_reached(tmp_path: Path) -> None:
    """Modules of the runtime that a service does not import stay out, with the libraries that they import."""
    root = written(
        {
            "services/s/handler.py": "from services.runtime import used\nimport json",
            "services/runtime/used.py": "import pyarrow.parquet as pq\nfrom services.runtime.values import Value",
            "services/runtime/values.py": "class Value: ...",
            "services/runtime/unused.py": "import polars",
        },
        tmp_path,
    )
    reached = reach("s", root)
    assert set(reached.modules) == {
        "services",
        "services.s",
        "services.s.handler",
        "services.runtime",
        "services.runtime.used",
        "services.runtime.values",
    }
    assert reached.foreign == {"pyarrow.parquet"}
    assert reached.packages() == ["services", "services.runtime", "services.s"]


def test_imports_inside_functions_and_relative_ones_are_followed(tmp_path: Path) -> None:
    """Wherever the statement stands and whatever it starts from."""
    root = written(
        {
            "services/s/handler.py": "def later():\n    from .core import rules\n    import isal.igzip",
            "services/s/core/__init__.py": "",
            "services/s/core/rules.py": "from ...runtime import clock",
            "services/runtime/clock.py": "",
        },
        tmp_path,
    )
    reached = reach("s", root)
    assert {"services.s.core.rules", "services.runtime.clock"} <= set(reached.modules)
    assert reached.foreign == {"isal.igzip"}


def test_what_only_a_type_checker_reads_is_not_followed(tmp_path: Path) -> None:
    """It is not there at run time; what stands in the other branch is."""
    text = "if TYPE_CHECKING:\n    import pyarrow\nelse:\n    import isal"
    assert reach("s", written({"services/s/handler.py": text}, tmp_path)).foreign == {"isal"}


def test_an_import_by_literal_name_is_something_asked_for(tmp_path: Path) -> None:
    """A driver that only some declarations need; a module of ours is reached as if a statement named it."""
    text = 'import_module("services.runtime.table")\nimportlib.import_module("driver.connector")'
    root = written({"services/s/handler.py": text, "services/runtime/table.py": "import pyarrow"}, tmp_path)
    reached = reach("s", root)
    assert "services.runtime.table" in reached.modules
    assert (reached.foreign, reached.asked_for) == ({"pyarrow"}, {"driver.connector"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import_module(name)", "handler.py:1: what is imported here shows at run time only"),
        ("from services.runtime.lost import x", "services.runtime.lost is imported, and there is no such module"),
        ("def f(:", "handler.py"),
    ],
)
def test_what_cannot_be_followed_is_an_error(text: str, says: str, tmp_path: Path) -> None:
    """Rather than a package that lacks something."""
    with pytest.raises(PackagingError, match=says):
        reach("s", written({"services/s/handler.py": text}, tmp_path))


def test_a_service_has_to_exist(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(PackagingError, match="there is no such service"):
        reach("nobody", written({}, tmp_path))
