"""The chunk worker as a long-poll worker: ``python -m services.chunk_worker.worker``."""

from services.chunk_worker.bootstrap import QUEUE, build
from services.chunk_worker.config import ChunkWorkerSettings
from services.runtime.shells.worker import main

if __name__ == "__main__":
    main(QUEUE, ChunkWorkerSettings, build)
