"""Generated service requests, from the generator that the demo uses."""

import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from soda_errors import bad_document
from soda_rows import Row

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the project itself, where it is not installed

from services.console.demo.service_requests import COLUMNS, Sample, generate


def sample(options: dict[str, Any]) -> tuple[dict[str, str], list[Row]]:
    """Columns and rows of a sample; ``options`` are the fields of ``Sample``.

    Raises:
        SodaError: 400, an option is unknown or wrong.
    """
    try:
        wanted = Sample.model_validate(options)
    except ValidationError as error:
        raise bad_document(error, "generate") from error
    return dict(COLUMNS), [Row(request.line, request.published_at) for request in generate(wanted)]
