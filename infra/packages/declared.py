"""What packages.toml declares: which layers a function has, and which distributions a layer has."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds services/, contracts/, pipelines/ and requirements/."""
DECLARATION = Path(__file__).with_name("packages.toml")
MOST_LAYERS = 5
"""Lambda attaches no more of them to a function."""

Names = tuple[Annotated[str, Field(min_length=1)], ...]


class PackagingError(Exception):
    """Why something cannot be packaged, in one line."""


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Declared):
    """What the zips of functions are cut from; paths are relative to the project."""

    services: Names = Field(description="in the order in which they are built")
    whole: Names = Field(default=(), description="folders that every function has")
    without: Names = Field(default=(), description="folders, with a slash at the end, that no function has")


class Function(_Declared):
    """The layers of a function, and those that only some stacks attach to it."""

    layers: Names
    optional: Names = ()


class Layer(_Declared):
    """The distributions of a layer, by their normalised names, and which of their files are left out.

    In patterns ``*`` stands for any text, slashes too; a file that ``keep`` names stays whatever ``without`` says.
    """

    distributions: Names
    pins: str = "requirements/runtime.txt"
    without: Names = ()
    keep: Names = ()


class Packages(_Declared):
    """Everything that is packaged."""

    python: str = Field(pattern=r"^3\.\d+$")
    architecture: str = Field(pattern=r"^(x86_64|arm64)$")
    glibc: str = Field(pattern=r"^2\.\d+$", description="newest that a wheel may need")
    code: Code
    functions: Mapping[str, Function]
    layers: Mapping[str, Layer]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if set(self.functions) != set(self.code.services):
            raise ValueError("functions and code.services name different services")
        for name, function in self.functions.items():
            attached = function.layers + function.optional
            if unknown := sorted(set(attached) - set(self.layers)):
                raise ValueError(f"functions.{name}: no such layer: {', '.join(unknown)}")
            if len(attached) > MOST_LAYERS:
                raise ValueError(f"functions.{name}: {len(attached)} layers, and Lambda attaches {MOST_LAYERS} at most")
            held = [each for layer in attached for each in self.layers[layer].distributions]
            if twice := sorted({each for each in held if held.count(each) > 1}):
                raise ValueError(f"functions.{name}: in two of its layers: {', '.join(twice)}")
        return self


def read_packages(path: Path = DECLARATION) -> Packages:
    """Read the declaration.

    Raises:
        PackagingError: it cannot be read, or what it declares does not fit together.
    """
    try:
        return Packages.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackagingError(f"{path}: {error}") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise PackagingError(f"{path}: {place}{': ' if place else ''}{wrong['msg']}") from error
