"""Signature Version 4 for reading S3 objects, for the one path where the SDK's own signer costs too much.

Source: "Signature Calculations for the Authorization Header" in the Amazon S3 API reference. The conformance tests
hold it equal to botocore's signer.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class SigningCredentials:
    """An access key; ``token`` belongs to temporary ones."""

    access_key: str
    secret_key: str
    token: str | None = None


class ReadSigner:
    """Signs GET requests of one region. The derived key is kept for as long as the day and the secret last."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._derived_from: tuple[str, str] | None = None
        self._key = b""

    def sign(
        self,
        credentials: SigningCredentials,
        now: datetime,
        *,
        host: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
    ) -> dict[str, str]:
        """The headers to send: the given ones plus those that authorise the request.

        Args:
            credentials: whose request it is.
            now: the time of signing, in UTC; S3 refuses a request more than 15 minutes from its own clock.
            host: the Host header, with the port unless it is the scheme's own.
            path: already percent-encoded, as it will be sent.
            query: canonical: sorted, percent-encoded, without the question mark.
            headers: further headers to sign, names in lower case.
        """
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        sent = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
        if credentials.token:
            sent["x-amz-security-token"] = credentials.token
        signed = sorted({**sent, "host": host}.items())
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed)
        request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_NO_BODY}"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials.secret_key, moment[:8]), text.encode(), "sha256").hex()
        sent["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return sent

    def _signing_key(self, secret: str, day: str) -> bytes:
        if self._derived_from != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._derived_from = key, (secret, day)
        return self._key
