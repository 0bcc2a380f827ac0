"""The sample commerce API: ``python localstack/commerce/server.py --port N --key-file FILE`` (README.md)."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    # A folder that is run has its modules beside it, and no two sample servers have modules of one name.
    runpy.run_path(str(Path(__file__).with_name("api")), run_name="__main__")
