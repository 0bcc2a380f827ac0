"""The merger as a long-poll worker: ``python -m services.merger.worker``."""

from services.merger.bootstrap import PARTS_QUEUE, QUEUE, build
from services.merger.config import MergerSettings
from services.merger.core.loads import LANDED_SUFFIX
from services.runtime.shells.worker import main


def lanes_of(settings: MergerSettings) -> dict[str, int]:
    """How many batches of each queue are handled side by side."""
    return {QUEUE: settings.lanes, PARTS_QUEUE: settings.parts_lanes}


if __name__ == "__main__":
    main(QUEUE, MergerSettings, build, lanes_of=lanes_of, stands_for_more=LANDED_SUFFIX, commits_together=True)
