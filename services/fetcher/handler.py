"""The fetcher as a Lambda function."""

from services.fetcher.bootstrap import build
from services.runtime.shells.lambda_batch import LambdaBatch

handler = LambdaBatch(build)
