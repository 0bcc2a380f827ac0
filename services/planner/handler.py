"""The planner as a Lambda function."""

from services.planner.bootstrap import build
from services.runtime.shells.lambda_batch import LambdaBatch

handler = LambdaBatch(build)
