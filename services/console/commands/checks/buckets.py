"""Buckets: versions, lifecycle, notifications, public access."""

from collections.abc import Coroutine, Sequence
from typing import Any

from botocore.exceptions import ClientError

from contracts.topology import Bucket
from services.console.commands.checks.findings import OK, Finding, Verdict, failed, line, looked, require, unchecked
from services.console.commands.checks.world import World
from services.console.local.documents import lifecycle
from services.runtime.aws.errors import code_of, translated

Look = Coroutine[Any, Any, Verdict]


async def check_buckets(world: World) -> list[Finding]:
    """A line for each bucket, and for what is declared of it."""
    found = []
    for bucket in world.topology.buckets:
        check = f"bucket {bucket.name}"
        first = await looked(check, _is_there(world, bucket))
        looks: dict[str, Look] = {
            "versioning": _versioning(world, bucket),
            "lifecycle": _lifecycle(world, bucket),
            "public access block": _public_access(world, bucket),
        }
        if bucket.notify_topic is not None:
            looks["notifications"] = _notifications(world, bucket, bucket.notify_topic)
        found.append(first)
        for aspect, look in looks.items():
            if first.state is OK.state:
                found.append(await looked(f"{check}: {aspect}", look))
            else:
                look.close()
                found.append(line(f"{check}: {aspect}", unchecked("its bucket could not be read")))
    return found


async def _is_there(world: World, bucket: Bucket) -> Verdict:
    name = world.name(bucket.name)
    with translated(f"look at bucket {name}"):
        await world.clients.s3.head_bucket(Bucket=name)
    return OK


async def _versioning(world: World, bucket: Bucket) -> Verdict:
    name = world.name(bucket.name)
    with translated(f"get the versioning of bucket {name}"):
        answer = await world.clients.s3.get_bucket_versioning(Bucket=name)
    status = answer.get("Status", "off")
    if not bucket.versioned:
        return OK
    return require(status == "Enabled", f"it is {status}: what is overwritten is gone", "switch versioning on")


async def _lifecycle(world: World, bucket: Bucket) -> Verdict:
    name = world.name(bucket.name)
    rules: Sequence[Any] = []
    with translated(f"get the lifecycle of bucket {name}"):
        try:
            rules = (await world.clients.s3.get_bucket_lifecycle_configuration(Bucket=name)).get("Rules", [])
        except ClientError as error:
            if code_of(error) != "NoSuchLifecycleConfiguration":
                raise
    return expiry(rules, bucket)


def expiry(rules: Sequence[Any], bucket: Bucket) -> Verdict:
    """Whether objects go when they may, and none goes that must stay."""
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
    for declared in lifecycle(bucket):
        terms = {name: declared[name] for name in ("Expiration", "NoncurrentVersionExpiration") if name in declared}
        if not any(_expires_all(rule) and terms.items() <= rule.items() for rule in enabled):
            return failed(f"no rule for the whole bucket says {terms}", "add it: what nobody needs costs for ever")
    have = [rule["Expiration"]["Days"] for rule in enabled if "Days" in rule.get("Expiration", {})]
    if have and (bucket.expire_days is None or min(have) < bucket.expire_days):
        return failed(f"objects go after {min(have)} days", "remove the rule: somebody still reads them")
    return OK


def _expires_all(rule: Any) -> bool:
    chosen = rule.get("Filter") or {}
    return rule.get("Prefix", "") == "" and (not chosen or chosen == {"Prefix": ""})


async def _public_access(world: World, bucket: Bucket) -> Verdict:
    name = world.name(bucket.name)
    blocked: Any = {}
    with translated(f"get the public access block of bucket {name}"):
        try:
            answer = await world.clients.s3.get_public_access_block(Bucket=name)
            blocked = answer["PublicAccessBlockConfiguration"]
        except ClientError as error:
            if code_of(error) != "NoSuchPublicAccessBlockConfiguration":
                raise
    parts = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    missing = [part for part in parts if not blocked.get(part)]
    if not missing:
        return OK
    if not world.is_aws:
        return unchecked("this endpoint is not AWS, and has no public access to block")
    return failed(f"it lacks {', '.join(missing)}", "block all public access")


async def _notifications(world: World, bucket: Bucket, topic: str) -> Verdict:
    name = world.name(bucket.name)
    with translated(f"get the notifications of bucket {name}"):
        answer = await world.clients.s3.get_bucket_notification_configuration(Bucket=name)
    for each in answer.get("TopicConfigurations", []):
        created = "s3:ObjectCreated:*" in each["Events"]
        if created and each["TopicArn"].rpartition(":")[2] == world.name(topic) and not each.get("Filter"):
            return OK
    return failed(
        f"new objects are not announced to topic {topic}", "notify it of s3:ObjectCreated:*, without a filter"
    )
