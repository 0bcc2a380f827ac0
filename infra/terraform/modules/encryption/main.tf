# One key for everything the stack stores. The services that hand messages on encrypt and decrypt as themselves, which
# is why the key's policy names them; roles get the key through their own policies.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:the policy of a key speaks of that key alone, which it calls "*"
  #checkov:skip=CKV_AWS_111:the policy of a key speaks of that key alone, which it calls "*"
  #checkov:skip=CKV_AWS_356:the policy of a key speaks of that key alone, which it calls "*"

  statement {
    # Without it nobody could manage the key, and no role's own policy would count.
    sid       = "KeyBelongsToTheAccount"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    # Buckets and alarms publish to topics that are under the key.
    sid       = "KeyServesTheHandOver"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com", "cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = concat([data.aws_caller_identity.current.account_id], var.publisher_accounts)
    }
  }

  statement {
    # Topics deliver to queues that are under the key. SNS always says which topic it speaks for.
    sid       = "KeyServesDeliveries"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values = [
        "arn:${data.aws_partition.current.partition}:sns:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:${var.stack}-*",
      ]
    }
  }

  statement {
    # Log groups of this account and region.
    sid       = "KeyServesTheLogs"
    actions   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.current.name}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:*",
      ]
    }
  }
}

resource "aws_kms_key" "this" {
  description             = "Tidegate ${var.stack}: objects, items, messages, logs"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.stack}"
  target_key_id = aws_kms_key.this.key_id
}
