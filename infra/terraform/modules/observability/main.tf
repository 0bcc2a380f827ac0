# Alarms on what the promise of the platform rests on: functions end, nothing waits for people, little is refused, and
# every scheduled pipeline keeps moving. All go to one topic.

resource "aws_sns_topic" "alarms" {
  name              = "${var.stack}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "alarms" {
  statement {
    # CloudWatch publishes as a service: alarms of this account only.
    sid       = "AlarmsComeFromCloudWatch"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }

  dynamic "statement" {
    for_each = var.require_tls ? [1] : []

    content {
      # An alarm's text names queues and pipelines: over TLS only.
      sid       = "AlarmsRefusePlainHttp"
      effect    = "Deny"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.alarms.arn]

      principals {
        type        = "*"
        identifiers = ["*"]
      }

      condition {
        test     = "Bool"
        variable = "aws:SecureTransport"
        values   = ["false"]
      }
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  actions = [aws_sns_topic.alarms.arn]

  # A function that may take less than the limit is asked for a share of its own timeout: else it could never alarm.
  slow = merge([
    for service, function in var.functions : {
      "${service}-slow"      = { function = function.name, service = service, seconds = min(600, floor(function.timeout_s * 0.8)) }
      "${service}-very-slow" = { function = function.name, service = service, seconds = min(780, floor(function.timeout_s * 0.9)) }
    }
  ]...)

  dead_letter_queues = merge(
    { for name, queue in var.queues : name => queue.dlq_name },
    { schedules = var.dropped_schedules_queue },
  )
}
