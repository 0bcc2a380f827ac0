"""The HTTP session of a client that is polite by itself."""

import aiohttp

CONNECT_TIMEOUT_S = 10.0
READ_BUFFER = 1024 * 1024
"""Bytes that may wait to be read before the connection is held back; pages are a few of these."""


def open_session(silence_s: float) -> aiohttp.ClientSession:
    """A session whose requests end when nothing came for ``silence_s`` seconds. It keeps no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # the rate budget bounds what is in flight
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "tidegate"},
        read_bufsize=READ_BUFFER,
        trust_env=True,  # many a network reaches its sources through a proxy only
    )
