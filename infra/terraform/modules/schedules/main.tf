# EventBridge Scheduler puts a ScheduledScan into the planner's queue. The scheduler fills in nothing but its own
# keywords: the slot becomes the command's identity, so a slot that is delivered twice starts one run.

locals {
  schedules = { for schedule in var.schedules : schedule.name => schedule }

  messages = {
    for name, schedule in local.schedules : name => jsonencode({
      # The scheduler has no UUID to give. The planner tells repetitions by pipeline and slot, never by this.
      id             = uuidv5("url", "tidegate:${var.stack}/schedules/${name}")
      kind           = "ScheduledScan"
      schema_version = 1
      run_id         = "schedule-<aws.scheduler.execution-id>"
      dedup_id       = "${schedule.pipeline}@<aws.scheduler.scheduled-time>"
      occurred_at    = "<aws.scheduler.scheduled-time>"
      body = {
        pipeline = schedule.pipeline
        slot     = "<aws.scheduler.scheduled-time>"
      }
    })
  }
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.stack
}

resource "aws_sqs_queue" "dropped" {
  name                      = "${var.stack}-schedules-dlq"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:a schedule holds the name of a pipeline and nothing else
  for_each = local.schedules

  name                         = each.key
  group_name                   = aws_scheduler_schedule_group.this.name
  description                  = "Tells the planner to bring ${each.value.pipeline} up to date"
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = var.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.queue_arns[each.value.queue]
    role_arn = aws_iam_role.this.arn

    # jsonencode writes angle brackets as escapes, in which the scheduler would not find its keywords.
    input = replace(replace(local.messages[each.key], "\\u003c", "<"), "\\u003e", ">")

    dead_letter_config {
      arn = aws_sqs_queue.dropped.arn
    }

    retry_policy {
      # Longer than SQS is ever out; a slot that comes late is still one run.
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 20
    }
  }

  # A rate fires at once: by then the role must be allowed to send.
  depends_on = [aws_iam_role_policy.this]
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    # The scheduler of this account only, so that nobody else's schedule can borrow the role.
    sid     = "SchedulerAssumesItsRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.stack}-schedules"
  description        = "Sends Tidegate's scheduled commands"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "this" {
  statement {
    # Commands go to the queues that schedules name, and what cannot be delivered to the queue of the dropped.
    sid     = "SchedulerSendsCommands"
    actions = ["sqs:SendMessage"]
    resources = concat(
      distinct([for schedule in var.schedules : var.queue_arns[schedule.queue]]),
      [aws_sqs_queue.dropped.arn],
    )
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      # Sending to a queue under the customer's key takes the key.
      sid       = "SchedulerUsesTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "send"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}
