"""The merger as a long-poll worker: ``python -m services.merger.worker``."""

from services.merger.bootstrap import QUEUE, build
from services.merger.config import MergerSettings
from services.runtime.shells.worker import main

if __name__ == "__main__":
    main(QUEUE, MergerSettings, build)
