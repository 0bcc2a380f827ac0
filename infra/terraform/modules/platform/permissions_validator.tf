# What the validator may do: every statement names the code that needs it. No service deletes an object, an item or a bucket.
data "aws_iam_policy_document" "validator" {
  #checkov:skip=CKV_AWS_356:sns:ListTopics knows no resources

  statement {
    # runtime/aws/bulk_reads.py and objects.py: raw objects, each in the version that was announced.
    sid       = "ValidatorReadsRaw"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = [for arn in local.raw_arns : "${arn}/*"]
  }

  statement {
    # runtime/aws/objects.py: without listing, S3 answers 403 where nothing is.
    sid       = "ValidatorTellsMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = concat(local.raw_arns, [local.bucket_arns["validated"]])
  }

  statement {
    # adapters.py, S3Claims: lists of objects that are too long for a message.
    sid       = "ValidatorRedeemsClaims"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arns["state"]}/plans/*"]
  }

  statement {
    # adapters.py, ParquetSegments and S3Landed: validated segments; what is there already is compared.
    sid       = "ValidatorWritesSegments"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns["validated"]}/*"]
  }

  statement {
    # adapters.py, ParquetSegments: records that were judged bad.
    sid       = "ValidatorFillsQuarantine"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arns["quarantine"]}/*"]
  }

  statement {
    # runtime/aws/ledger.py: opens runs of uploads and settles segments with their counts.
    sid       = "ValidatorSettlesInTheLedger"
    actions   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["ledger"]]
  }

  statement {
    # runtime/aws/schemas.py: columns that nobody declared, once each.
    sid       = "ValidatorRecordsColumns"
    actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"]
    resources = [local.table_arns["schemas"]]
  }

  statement {
    # runtime/mirrors.py: the log of a group's run, if it was an entity that failed here that ended it.
    sid       = "ValidatorWritesRunLogs"
    actions   = ["s3:PutObject"]
    resources = [for arn in local.table_file_arns : "${arn}/*"]
  }

  statement {
    # runtime/aws/publishing.py: facts.
    sid       = "ValidatorAnnouncesFacts"
    actions   = ["sns:Publish"]
    resources = [local.topic_arns["pipeline-events"]]
  }

  statement {
    # runtime/aws/publishing.py looks the topic up by its name; listing knows no resources.
    sid       = "ValidatorFindsTheTopic"
    actions   = ["sns:ListTopics"]
    resources = ["*"]
  }
}
