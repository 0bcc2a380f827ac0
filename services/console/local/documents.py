"""The documents that S3, SNS and SQS want: lifecycle rules and resource policies."""

import json
from typing import TYPE_CHECKING

from contracts.topology import Bucket

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import LifecycleRuleTypeDef, NoncurrentVersionExpirationTypeDef


def lifecycle(bucket: Bucket) -> "list[LifecycleRuleTypeDef]":
    """The lifecycle rules that a bucket declares, in days; none for a bucket that keeps everything."""
    rules: list[LifecycleRuleTypeDef] = []
    if bucket.expire_days:
        rules.append(
            {
                "ID": "expire",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "Expiration": {"Days": bucket.expire_days},
            }
        )
    if bucket.noncurrent_expire_days:
        expiration: NoncurrentVersionExpirationTypeDef = {"NoncurrentDays": bucket.noncurrent_expire_days}
        if bucket.noncurrent_keep:
            expiration["NewerNoncurrentVersions"] = bucket.noncurrent_keep
        rules.append(
            {
                "ID": "expire-noncurrent",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "NoncurrentVersionExpiration": expiration,
            }
        )
    if bucket.abort_incomplete_days:
        rules.append(
            {
                "ID": "abort-incomplete-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": bucket.abort_incomplete_days},
            }
        )
    return rules


def policy(service: str, action: str, resource: str, sources: list[str]) -> str:
    """A resource policy, as JSON: one AWS service may act on ``resource`` for these source ARNs only."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": sources}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
