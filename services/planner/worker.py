"""The planner as a long-poll worker: ``python -m services.planner.worker``."""

from services.planner.bootstrap import QUEUE, build
from services.planner.config import PlannerSettings
from services.runtime.shells.worker import main

if __name__ == "__main__":
    main(QUEUE, PlannerSettings, build)
