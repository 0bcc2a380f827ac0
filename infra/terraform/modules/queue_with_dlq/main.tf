resource "aws_sqs_queue" "dead_letters" {
  name                              = "${var.name}-dlq"
  message_retention_seconds         = var.retention_s
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600
}

resource "aws_sqs_queue" "this" {
  name                              = var.name
  message_retention_seconds         = var.retention_s
  visibility_timeout_seconds        = var.visibility_timeout_s
  receive_wait_time_seconds         = 20
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.max_receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

# Roles of this account (services, state machines, schedules) need no statement here: their own policies name the
# queue. A queue that no topic feeds and that need not insist on TLS has no policy at all.
data "aws_iam_policy_document" "queue" {
  count = length(var.topic_arns) > 0 || var.require_tls ? 1 : 0

  dynamic "statement" {
    for_each = var.require_tls ? [1] : []

    content {
      # Messages name objects, people's keys and task tokens: never over plain HTTP.
      sid       = "QueueRefusesPlainHttp"
      effect    = "Deny"
      actions   = ["sqs:*"]
      resources = [aws_sqs_queue.this.arn]

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

  dynamic "statement" {
    for_each = length(var.topic_arns) > 0 ? [1] : []

    content {
      # SNS delivers as a service, not as a role, so the queue has to say which topics may.
      sid       = "QueueTakesFromItsTopics"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = var.topic_arns
      }
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  count = length(data.aws_iam_policy_document.queue)

  queue_url = aws_sqs_queue.this.id
  policy    = data.aws_iam_policy_document.queue[0].json
}

data "aws_iam_policy_document" "dead_letters" {
  count = length(var.topic_arns) > 0 || var.require_tls ? 1 : 0

  dynamic "statement" {
    for_each = var.require_tls ? [1] : []

    content {
      # What failed is read by people: over TLS, like everything else.
      sid       = "DeadLettersRefusePlainHttp"
      effect    = "Deny"
      actions   = ["sqs:*"]
      resources = [aws_sqs_queue.dead_letters.arn]

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

  dynamic "statement" {
    for_each = length(var.topic_arns) > 0 ? [1] : []

    content {
      # What SNS is not allowed to deliver it puts here, as a service like its deliveries.
      sid       = "DeadLettersTakeWhatTopicsKeep"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.dead_letters.arn]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = var.topic_arns
      }
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  count = length(data.aws_iam_policy_document.dead_letters)

  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.dead_letters[0].json
}
