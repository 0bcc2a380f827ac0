"""Generated service requests, from the generator that the demo uses."""

import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from soda_errors import bad_request
from soda_rows import Row

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the project itself, where it is not installed

from services.console.demo.service_requests import COLUMNS, Sample, generate

_SAMPLE = TypeAdapter(Sample)


def sample(options: dict[str, Any]) -> tuple[dict[str, str], list[Row]]:
    """Columns and rows of a sample; ``options`` are the fields of ``Sample``.

    Raises:
        SodaError: 400, an option is unknown or wrong.
    """
    try:
        wanted = _SAMPLE.validate_python(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise bad_request(f"generate: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return dict(COLUMNS), [Row(request.line, request.published_at) for request in generate(wanted)]
