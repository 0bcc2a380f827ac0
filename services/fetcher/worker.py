"""The fetcher as a long-poll worker: ``python -m services.fetcher.worker``."""

from services.fetcher.bootstrap import QUEUE, build
from services.fetcher.config import FetcherSettings
from services.runtime.shells.worker import main

if __name__ == "__main__":
    main(QUEUE, FetcherSettings, build)
