"""A sample Socrata server (SODA 2) for the embedded stack, the tests and the benchmarks.

    python localstack/socrata/server.py --port 0

The first line of standard output is its URL. Data come in through the control plane (README.md) or ``--dataset``.
"""

import argparse
import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web
from pydantic import ValidationError
from soda_control import control_routes, errors_as_json
from soda_data import Data, create_dataset
from soda_errors import SodaError, bad_document
from soda_resource import SERVICE, Service, resource

QUERIES_AT_ONCE = 4
MAX_UPLOAD_BYTES = 2**30
END_GRACE_S = 2.0


def application(service: Service) -> web.Application:
    """The routes over one state."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_UPLOAD_BYTES)
    app[SERVICE] = service
    app.add_routes([web.get("/resource/{dataset}.json", resource), *control_routes()])
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
    """Load what the command line names, then serve. Exit code 2: a dataset cannot be loaded; 1: the port is taken."""
    parser = argparse.ArgumentParser(description="A sample Socrata server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--clock", default=None, help="time of publication: a floating timestamp, or system")
    parser.add_argument(
        "--dataset",
        nargs=2,
        action="append",
        default=[],
        metavar=("ID", "JSON"),
        help="load before serving; the body of PUT /_control/datasets/ID",
    )
    options = parser.parse_args(arguments)
    with ThreadPoolExecutor(QUERIES_AT_ONCE) as executor:
        service = Service(executor)
        try:
            service.set_clock(options.clock)
            for name, data in options.dataset:
                service.store.put(create_dataset(name, Data.model_validate_json(data)))
        except SodaError as error:
            return _failed(str(error), 2)
        except ValidationError as error:
            return _failed(f"--dataset: {bad_document(error)}", 2)
        try:
            asyncio.run(serve(service, options.host, options.port))
        except OSError as error:
            return _failed(f"{options.host}:{options.port}: {error.strerror}", 1)
    return 0


def _failed(reason: str, code: int) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
