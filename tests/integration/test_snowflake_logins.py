"""What becomes of logins to Snowflake that do not work; needs nobody who speaks its protocol."""

import gzip
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer

import pytest

from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.snowflake.session import open_session
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.integration.snowflake_support import PASSWORD, SECRET, entity, login


@contextmanager
def refusing_server(passwords: list[str]) -> Iterator[int]:
    """A server that refuses every login and notes down its password."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            text = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            passwords.append(json.loads(text)["data"]["PASSWORD"])
            message = "Incorrect username or password was specified."
            answer = json.dumps({"success": False, "code": "390100", "message": message, "data": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = TCPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_login_that_does_not_work_shows_no_secret() -> None:
    """Text that is no login and members that are missing are named, values are not."""
    for text, said in (
        (f"{PASSWORD} {{", "it is not JSON"),
        (json.dumps([PASSWORD]), "it is not a JSON object"),
        (json.dumps({"account": "a", "user": "u", "password": PASSWORD, "port": PASSWORD}), "database: Field required"),
    ):
        secrets = FakeSecrets(ManualClock())
        secrets.stored[SECRET] = text
        with pytest.raises(PermanentError, match=said) as caught:
            await entity(secrets).describe()
        assert PASSWORD not in str(caught.value)


async def test_a_refused_password_is_read_anew_once() -> None:
    """Whoever rotates a password does not have to wait for a cache to expire; one that stays refused is permanent."""
    logins: list[str] = []
    with refusing_server(logins) as port:
        secrets = FakeSecrets(ManualClock())
        secrets.stored[SECRET] = login(port)
        await secrets.read(SECRET)
        secrets.stored[SECRET] = login(port, password="rotated")  # noqa: S106 - of a server that refuses all
        with pytest.raises(PermanentError, match="Incorrect username or password") as caught:
            await entity(secrets).describe()
        assert logins == [PASSWORD, "rotated"]
        assert PASSWORD not in str(caught.value)


async def test_a_server_that_does_not_answer_is_asked_again_later() -> None:
    """It is nobody's fault, and the message comes back."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored[SECRET] = login(1)
    with pytest.raises(TemporaryError, match="Snowflake a: "):
        async with open_session(secrets, SECRET, login_timeout_s=2):
            pass


async def test_without_the_driver_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional source that nobody installed is a mistake of the declaration."""
    monkeypatch.setitem(sys.modules, "snowflake.connector", None)
    secrets = FakeSecrets(ManualClock())
    with pytest.raises(BadDeclarationError, match=r"pip install tidegate\[snowflake\]"):
        await entity(secrets).describe()
