"""The validator as a Lambda function."""

from services.runtime.shells.lambda_batch import LambdaBatch
from services.validator.bootstrap import build

handler = LambdaBatch(build)
