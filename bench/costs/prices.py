"""AWS list prices, US East (N. Virginia), US dollars without tax, on demand, no free tier, no savings plan.

Names are those of the price pages; a figure that is not a price says so. Check them before you rely on a sum.
"""

AS_OF = "2025-11"
"""Month of the price list that these stand for."""
REGION = "us-east-1"

MILLION = 1_000_000
DAYS = 30
"""Of a month."""

S3_PUT_COPY_POST_LIST = 0.005 / 1_000
"""S3 Standard: PUT, COPY, POST, LIST requests, one."""
S3_GET = 0.0004 / 1_000
"""S3 Standard: GET, SELECT and all other requests, one. DELETE is free."""
S3_GB_MONTH = 0.023
"""S3 Standard storage, first 50 TB, a GB and month."""

DYNAMODB_WRITE_UNIT = 0.625 / MILLION
"""DynamoDB on-demand: write request unit, 1 KB; a transaction takes two."""
DYNAMODB_READ_UNIT = 0.125 / MILLION
"""DynamoDB on-demand: read request unit, 4 KB, consistent; a transaction takes two."""

SQS_REQUEST = 0.40 / MILLION
"""SQS Standard: one request of at most 64 KB and ten messages."""
SNS_PUBLISH = 0.50 / MILLION
"""SNS Standard: one publish of at most 64 KB. Delivery to SQS is free."""
SECRETS_CALL = 0.05 / 10_000
"""Secrets Manager: one call."""
SECRET_MONTH = 0.40
"""Secrets Manager: one secret and month."""

LAMBDA_REQUEST = 0.20 / MILLION
"""Lambda: one invocation."""
LAMBDA_GB_S = 0.0000166667
"""Lambda on x86: a GB of memory for a second, first tier."""

MEMORY_GB = {"planner": 1.0, "fetcher": 2.0, "validator": 2.0, "merger": 3008 / 1024, "chunk_worker": 1.0}
"""Not a price: the functions' memory, as infra/terraform/modules/platform/services.tf has it."""

IDLE_POLLS_A_DAY = 6 * 5 * 86_400 // 20
"""Not a price: six queues, five pollers each, which ask every 20 s whether there is something or not."""
