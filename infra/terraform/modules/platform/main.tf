# The whole stack: what the topology declares, and the services that work on it. Environments differ in what they hand
# to this module and in nothing else.

module "encryption" {
  source = "../encryption"
  count  = var.customer_managed_key ? 1 : 0

  stack              = var.stack
  publisher_accounts = compact([var.event_log_account])
}

locals {
  kms_key_arn = one(module.encryption[*].key_arn)
}

module "topics" {
  source = "../topics"

  stack              = var.stack
  publisher_accounts = compact([var.event_log_account])
  require_tls        = var.require_tls
  kms_key_arn        = local.kms_key_arn
  topics = {
    for topic in local.topology.topics : topic.name => {
      bucket_arns = concat(
        [for bucket in local.topology.buckets : local.bucket_arns[bucket.name] if bucket.notify_topic == topic.name],
        # Uploads into a bucket of somebody else's are announced like those into our own.
        [for name in compact([var.event_log_bucket]) : "${local.arn}:s3:::${name}" if local.buckets["raw"].notify_topic == topic.name],
      )
    }
  }
}

module "queues" {
  source   = "../queue_with_dlq"
  for_each = local.queues

  name                 = "${var.stack}-${each.key}"
  visibility_timeout_s = each.value.visibility_timeout_s
  retention_s          = each.value.retention_s
  max_receives         = each.value.max_receives
  topic_arns           = [for subscription in local.topology.subscriptions : module.topics.arns[subscription.topic] if subscription.queue == each.key]
  require_tls          = var.require_tls
  kms_key_arn          = local.kms_key_arn
}

resource "aws_sns_topic_subscription" "this" {
  for_each = { for subscription in local.topology.subscriptions : "${subscription.topic}/${subscription.queue}" => subscription }

  topic_arn = module.topics.arns[each.value.topic]
  protocol  = "sqs"
  endpoint  = module.queues[each.value.queue].arn
  # The services read S3's notification itself, without an envelope of SNS around it.
  raw_message_delivery = true
  # What SNS is refused (a policy, a key that is disabled) it does not try again: without this it would be gone. On the
  # emulator it stays off, because tests take policies away and count dead letters.
  redrive_policy = var.emulated ? null : jsonencode({ deadLetterTargetArn = module.queues[each.value.queue].dlq_arn })
}

module "tables" {
  source = "../state_tables"

  stack                  = var.stack
  tables                 = local.topology.tables
  deletion_protection    = var.deletion_protection
  point_in_time_recovery = var.point_in_time_recovery
  kms_key_arn            = local.kms_key_arn
}

module "buckets" {
  source = "../data_buckets"

  stack             = var.stack
  buckets           = local.topology.buckets
  topic_arns        = module.topics.arns
  force_destroy     = var.force_destroy
  access_log_bucket = var.access_log_bucket
  require_tls       = var.require_tls
  kms_key_arn       = local.kms_key_arn
}

# Buckets of the deployment itself, which no service reads: packages, and results of Athena's queries.
module "own_buckets" {
  source = "../data_buckets"

  stack = var.stack
  buckets = [
    { name = "artifacts", versioned = true, noncurrent_expire_days = 90 },
    { name = "athena-results", versioned = false, expire_days = 7 },
  ]
  force_destroy     = true
  access_log_bucket = var.access_log_bucket
  require_tls       = var.require_tls
  kms_key_arn       = local.kms_key_arn
}

module "schedules" {
  source = "../schedules"

  stack       = var.stack
  schedules   = local.topology.schedules
  queue_arns  = { for name, queue in module.queues : name => queue.arn }
  enabled     = var.schedules_enabled
  kms_key_arn = local.kms_key_arn
}

module "state_machines" {
  source = "../state_machine"

  stack              = var.stack
  state_machines     = local.topology.state_machines
  queues             = { for name, queue in module.queues : name => { arn = queue.arn, url = queue.url } }
  log_retention_days = var.log_retention_days
  kms_key_arn        = local.kms_key_arn
}

module "catalog" {
  source = "../catalog"

  stack          = var.stack
  catalogs       = [for path in var.catalog_files : jsondecode(file(path))]
  results_bucket = module.own_buckets.names["athena-results"]
  kms_key_arn    = local.kms_key_arn
}

module "observability" {
  source = "../observability"

  stack     = var.stack
  functions = { for service, function in module.services : service => { name = function.name, timeout_s = function.timeout_s } }
  log_groups = merge(
    { for service, function in module.services : service => function.log_group },
    { for service, name in module.ecs_workers.log_groups : "${service}-worker" => name },
  )
  queues = {
    for name, queue in module.queues : name => {
      name         = queue.name
      dlq_name     = queue.dlq_name
      oldest_max_s = max(var.oldest_message_max_s, 2 * local.queues[name].timeout_s * local.queues[name].maximum_concurrency)
    }
  }
  dropped_schedules_queue = module.schedules.dlq_name
  pipelines               = local.pipelines
  limited_pipelines       = local.limited_pipelines
  scheduled_pipelines     = distinct(local.topology.schedules[*].pipeline)
  watermark_max_age_hours = var.watermark_max_age_hours
  failed_max_percent      = var.failed_max_percent
  state_machine_arns      = module.state_machines.arns
  alarm_email             = var.alarm_email
  require_tls             = var.require_tls
  kms_key_arn             = local.kms_key_arn
}
