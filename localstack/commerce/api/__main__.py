"""Command line of the sample commerce API. The first line of standard output is its URL."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web
from shop_control import control_routes
from shop_pages import SERVICE, Service, answer
from shop_store import Store, StoreError

MAX_UPLOAD_BYTES = 2**30
END_GRACE_S = 2.0


def application(service: Service) -> web.Application:
    """The routes over one state."""
    app = web.Application(client_max_size=MAX_UPLOAD_BYTES)
    app[SERVICE] = service
    app.add_routes([*control_routes(), web.get("/{entity}", answer)])
    return app


async def serve(service: Service, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; requests under way are finished."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(service), access_log=None, shutdown_timeout=END_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        host, port, *_ = runner.addresses[0]
        print(f"http://{host}:{port}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main(arguments: list[str]) -> int:
    """Serve what the state holds. Exit code 2: the key or the state cannot be read; 1: the port is taken."""
    parser = argparse.ArgumentParser(prog="server.py", description="A sample API of payments and shipments")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--key-file", type=Path, required=True, help="holds the API key that clients must send")
    parser.add_argument("--state", type=Path, help="keeps the records from one start to the next")
    options = parser.parse_args(arguments)
    try:
        key = options.key_file.read_text(encoding="utf-8").strip()
        if not key:
            return _failed(f"{options.key_file} is empty", 2)
        with Store.open(options.state) as store:
            asyncio.run(serve(Service(store, key), options.host, options.port))
    except StoreError as error:
        return _failed(str(error), 2)
    except OSError as error:
        place = error.filename or f"{options.host}:{options.port}"
        return _failed(f"{place}: {error.strerror}", 2 if error.filename else 1)
    return 0


def _failed(reason: str, code: int) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
