"""The validator as a long-poll worker: ``python -m services.validator.worker``."""

from services.runtime.shells.worker import main
from services.validator.bootstrap import QUEUE, build
from services.validator.config import ValidatorSettings

if __name__ == "__main__":
    main(QUEUE, ValidatorSettings, build)
