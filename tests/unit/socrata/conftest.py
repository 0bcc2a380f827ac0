"""The server's modules are imported by plain name, as the server itself does."""

import sys

from tests.socrata_support import SERVER

sys.path.insert(0, str(SERVER.parent))
