"""Connection secrets and names of PostgreSQL."""

import json
from typing import Any

import pytest

from services.runtime.failures import MissingObjectError, PermanentError
from services.runtime.postgres.access import ConnectionParameters, PostgresAccess
from services.runtime.postgres.names import qualified, quoted
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets

PASSWORD = "p'w\"/@:\\ é%s"  # noqa: S105 - made up
RDS = {
    "engine": "postgres",
    "host": "db.internal",
    "port": 5433,
    "dbname": "shop",
    "username": "reader",
    "password": PASSWORD,
    "dbInstanceIdentifier": "shop-1",
}


async def read(text: str | bytes, **more: Any) -> ConnectionParameters:
    """What a secret with this text says."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["ecom-rds"] = text
    return await PostgresAccess(secrets).parameters("ecom-rds", **more)


async def test_a_secret_as_rds_writes_it() -> None:
    """Members that say nothing about connecting are left alone."""
    found = await read(json.dumps(RDS))
    assert (found.host, found.port, found.database, found.user) == ("db.internal", 5433, "shop", "reader")
    assert (found.password.get_secret_value(), found.sslmode) == (PASSWORD, None)
    assert found.place == "db.internal:5433/shop"


async def test_other_names_for_the_same() -> None:
    """A database, a user, a port as text or none, and how to use TLS."""
    found = await read(
        json.dumps(
            {"host": "h", "port": "6000", "database": "d", "user": "u", "password": "p", "sslmode": "verify-full"}
        )
    )
    assert (found.port, found.database, found.user, found.sslmode) == (6000, "d", "u", "verify-full")
    assert (await read(json.dumps({"host": "h", "database": "d", "user": "u", "password": ""}))).port == 5432


async def test_the_password_is_not_shown() -> None:
    """Neither by repr nor by str."""
    found = await read(json.dumps(RDS))
    assert PASSWORD not in repr(found)
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"postgres://reader:{PASSWORD}@db", "it is not JSON"),
        (json.dumps([PASSWORD]), "it is not a JSON object"),
        ("[" * 100_000, "it is not JSON"),
        (
            json.dumps({"password": PASSWORD}),
            "host: Field required; database: Field required; username: Field required",
        ),
        (json.dumps(RDS | {"port": PASSWORD}), "port: Input should be a valid integer, unable to parse string as an"),
        (json.dumps(RDS | {"port": 70_000}), "port: Input should be less than or equal to 65535"),
        (json.dumps(RDS | {"host": f"{PASSWORD}\0"}), "host: String should match pattern"),
        (json.dumps(RDS | {"sslmode": PASSWORD}), "sslmode: String should match pattern"),
        (json.dumps(RDS | {"password": {"is": PASSWORD}}), "password: Input should be a valid string"),
    ],
)
async def test_a_secret_that_does_not_say_how_to_connect(text: str, reason: str) -> None:
    """The error names the secret and what is wrong, and no part of what is in it, wherever it came from."""
    with pytest.raises(PermanentError) as error:
        await read(text)
    assert str(error.value).startswith("secret ecom-rds does not say how to connect: ")
    assert reason in str(error.value)
    assert PASSWORD not in str(error.value)
    assert (error.value.__cause__, error.value.__context__) == (None, None)


async def test_a_fresh_secret() -> None:
    """The cache is passed by only when it is asked for."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["s"] = json.dumps(RDS)
    access = PostgresAccess(secrets)
    await access.parameters("s")
    secrets.stored["s"] = json.dumps(RDS | {"password": "new"})
    assert (await access.parameters("s")).password.get_secret_value() == PASSWORD
    assert (await access.parameters("s", fresh=True)).password.get_secret_value() == "new"
    with pytest.raises(MissingObjectError, match="read secret t"):
        await access.parameters("t")


def test_names_are_quoted() -> None:
    """Whatever is in them; quotes are doubled."""
    assert quoted("order") == '"order"'
    assert quoted('a"b""; --') == '"a""b""""; --"'
    assert qualified("public", 'o"x') == '"public"."o""x"'


@pytest.mark.parametrize("name", ["", "a\0b", "\0"])
def test_what_cannot_be_a_name(name: str) -> None:
    """It is refused."""
    with pytest.raises(PermanentError):
        quoted(name)
    with pytest.raises(PermanentError):
        qualified("public", name)
