"""What packages.toml may say, and the one line that answers what it may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.packages.declared import PROJECT, PackagingError, read_packages

GOOD = """
python = "3.12"
architecture = "x86_64"
glibc = "2.28"
code = { services = ["planner"] }
[functions.planner]
layers = ["sdk", "logs"]
[layers.sdk]
distributions = ["boto3"]
[layers.logs]
distributions = ["structlog"]
[layers.more]
distributions = ["boto3"]
"""


def read(text: str, folder: Path) -> str:
    """The error that a declaration makes, and an empty text where it makes none."""
    file = folder / "packages.toml"
    file.write_text(text)
    try:
        read_packages(file)
    except PackagingError as error:
        return str(error).removeprefix(f"{file}: ")
    return ""


def test_a_declaration_that_fits_together_is_read(tmp_path: Path) -> None:
    """Functions, layers and the code that functions are cut from."""
    assert read(GOOD, tmp_path) == ""


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ('"logs"]', '"lox"]', "functions.planner: no such layer: lox"),
        ('"logs"]', '"more"]', "functions.planner: in two of its layers: boto3"),
        ('"logs"]', '"logs", "a", "b", "c", "d"]', "functions.planner: no such layer: a, b, c, d"),
        ('["planner"]', '["planner", "merger"]', "functions and code.services name different services"),
        ("[layers.more]\ndistributions", "[layers.more]\nwith", "layers.more.distributions: Field required"),
        ('"x86_64"', '"mips"', "architecture: String should match pattern"),
        ('python = "3.12"', "python = ", "Invalid value (at line 2"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(good: str, bad: str, says: str, tmp_path: Path) -> None:
    """The line names the function or the layer."""
    assert good in GOOD
    error = read(GOOD.replace(good, bad), tmp_path)
    assert says in error
    assert "\n" not in error


def test_a_function_has_five_layers_at_most(tmp_path: Path) -> None:
    """Lambda would refuse a sixth, default or optional."""
    more = "".join(f'[layers.l{n}]\ndistributions = ["d{n}"]\n' for n in range(4))
    layers = GOOD.replace('"logs"]', '"logs"]\noptional = ["l0", "l1", "l2", "l3"]') + more
    assert "functions.planner: 6 layers, and Lambda attaches 5 at most" in read(layers, tmp_path)


def test_a_declaration_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    """The line names the file."""
    with pytest.raises(PackagingError, match="nowhere"):
        read_packages(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--architecture", "mips"], "error: no such architecture: mips; there are x86_64, arm64\n"),
        (["--output", "/dev/null/dist"], "error: [Errno 20] Not a directory: '/dev/null/dist'\n"),
    ],
)
def test_the_command_answers_bad_options_in_one_line(options: list[str], says: str) -> None:
    """And fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "infra.packages", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, says)
