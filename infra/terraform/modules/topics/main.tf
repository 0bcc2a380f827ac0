resource "aws_sns_topic" "this" {
  for_each = var.topics

  name              = "${var.stack}-${each.key}"
  kms_master_key_id = var.kms_key_arn
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "topic" {
  for_each = { for name, topic in var.topics : name => topic if var.require_tls || length(topic.bucket_arns) > 0 }

  dynamic "statement" {
    for_each = var.require_tls ? [1] : []

    content {
      # Facts and object names travel over TLS only.
      sid       = "TopicRefusesPlainHttp"
      effect    = "Deny"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.this[each.key].arn]

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
    for_each = length(each.value.bucket_arns) > 0 ? [1] : []

    content {
      # S3 announces new objects as a service, so the topic has to say which buckets may.
      sid       = "TopicTakesFromItsBuckets"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.this[each.key].arn]

      principals {
        type        = "Service"
        identifiers = ["s3.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = each.value.bucket_arns
      }

      # A bucket's ARN does not name its account, and a name that was given up can be taken by anybody.
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = concat([data.aws_caller_identity.current.account_id], var.publisher_accounts)
      }
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  for_each = data.aws_iam_policy_document.topic

  arn    = aws_sns_topic.this[each.key].arn
  policy = each.value.json
}
