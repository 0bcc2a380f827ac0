"""Where a bucket answers, by the rule the SDK follows."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_AWS_HOST = re.compile(r"s3(-fips)?\..*amazonaws\.com(\.cn)?")
_HOST_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""Bucket names that can stand before the endpoint's host name; a dot would not match its certificate."""
_DEFAULT_PORTS = {("http", 80), ("https", 443)}


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The parts of every request to one bucket; ``path`` ends in a slash, a key follows it."""

    origin: str
    host: str
    path: str
    proxy: str | None

    @classmethod
    def of(cls, bucket: str, s3: "S3Client") -> Self:
        """By host name on AWS, by path at any other endpoint, unless the SDK is configured otherwise.

        Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
        """
        endpoint = urlsplit(s3.meta.endpoint_url)
        name, root = endpoint.hostname or "", endpoint.path.rstrip("/")
        name = f"[{name}]" if ":" in name else name
        style = getattr(s3.meta.config, "s3", None) or {}
        chosen = style.get("addressing_style", "auto")
        by_host = chosen == "virtual" or (chosen == "auto" and _AWS_HOST.fullmatch(name) is not None)
        if by_host and _HOST_NAME.fullmatch(bucket):
            name = f"{bucket}.{name}"
        else:
            root = f"{root}/{bucket}"
        standard = endpoint.port is None or (endpoint.scheme, endpoint.port) in _DEFAULT_PORTS
        host = name if standard else f"{name}:{endpoint.port}"
        proxy = None if proxy_bypass(name) else getproxies().get(endpoint.scheme)
        return cls(f"{endpoint.scheme}://{host}", host, f"{root}/", proxy)
