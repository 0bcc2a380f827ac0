"""The merger as a Lambda function."""

from services.merger.bootstrap import build
from services.runtime.shells.lambda_batch import LambdaBatch

handler = LambdaBatch(build)
