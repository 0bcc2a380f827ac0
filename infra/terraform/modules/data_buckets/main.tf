locals {
  buckets = { for bucket in var.buckets : bucket.name => bucket }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV2_AWS_62:the buckets whose new objects somebody waits for have notifications
  #checkov:skip=CKV_AWS_18:access logs where there is a bucket for them (access_log_bucket)
  #checkov:skip=CKV_AWS_144:a copy in another region is a decision about cost and law, not of this module
  #checkov:skip=CKV_AWS_145:under the customer's key where the stack has one, else under S3's own
  #checkov:skip=CKV_AWS_21:versions where the topology asks for them; segments, quarantine and query results are written once
  #checkov:skip=CKV2_AWS_6:see aws_s3_bucket_public_access_block.this, which covers every bucket
  for_each = local.buckets

  bucket        = "${var.stack}-${each.key}"
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.versioned }

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:the first rule does so for every bucket; the check reads no variables
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  # An upload that was killed costs money for ever and shows in no listing of objects.
  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = coalesce(each.value.abort_incomplete_days, var.abort_uploads_after_days)
    }
  }

  dynamic "rule" {
    for_each = each.value.expire_days == null ? [] : [each.value.expire_days]

    content {
      id     = "expire"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = each.value.noncurrent_expire_days == null ? [] : [each.value.noncurrent_expire_days]

    content {
      id     = "expire-noncurrent"
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days           = rule.value
        newer_noncurrent_versions = each.value.noncurrent_keep
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

data "aws_iam_policy_document" "bucket" {
  for_each = var.require_tls ? aws_s3_bucket.this : {}

  statement {
    # The data itself: nobody reads or writes it over plain HTTP, whatever their role allows.
    sid       = "BucketRefusesPlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

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

resource "aws_s3_bucket_policy" "this" {
  for_each = data.aws_iam_policy_document.bucket

  bucket = aws_s3_bucket.this[each.key].id
  policy = each.value.json

  # S3 refuses two of these at a time.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each = var.access_log_bucket == null ? {} : aws_s3_bucket.this

  bucket        = each.value.id
  target_bucket = var.access_log_bucket
  target_prefix = "${each.value.id}/"
}

resource "aws_s3_bucket_notification" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.notify_topic != null }

  bucket = aws_s3_bucket.this[each.key].id

  topic {
    id        = "object-created"
    topic_arn = var.topic_arns[each.value.notify_topic]
    events    = ["s3:ObjectCreated:*"]
  }
}
