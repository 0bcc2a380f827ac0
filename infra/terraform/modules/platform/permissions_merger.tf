# What the merger may do: every statement names the code that needs it. No service deletes an object, an item or a bucket.
data "aws_iam_policy_document" "merger" {
  #checkov:skip=CKV_AWS_356:sns:ListTopics knows no resources

  statement {
    # adapters/storage.py, loads.py, chunks.py: validated segments, and the raw files of entities, which are carried as they are.
    sid       = "MergerReadsSegments"
    actions   = ["s3:GetObject"]
    resources = concat(["${local.bucket_arns["validated"]}/*"], [for arn in local.raw_arns : "${arn}/*"])
  }

  statement {
    # adapters/rewrite.py, parts.py, known.py, keys.py: checkpoints and partitions, each from the version it read.
    sid       = "MergerWritesTables"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
    resources = [for arn in local.output_arns : "${arn}/*"]
  }

  statement {
    # runtime/aws/multipart.py: an object that is put together from parts is given up when its commit is.
    sid       = "MergerGivesUpUploads"
    actions   = ["s3:AbortMultipartUpload"]
    resources = [for arn in local.output_arns : "${arn}/*"]
  }

  statement {
    # adapters/keys.py, use_case/publishing.py: the files of a table; a checkpoint that is not there is told from one that is
    # forbidden.
    sid       = "MergerListsTables"
    actions   = ["s3:ListBucket"]
    resources = concat(local.output_arns, local.raw_arns, [local.bucket_arns["state"], local.bucket_arns["validated"]])
  }

  statement {
    # adapters/storage.py, adapters/loads.py: what a commit is about to do, and the results of the groups of a load.
    sid       = "MergerKeepsCommits"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns["state"]}/commits/*", "${local.bucket_arns["state"]}/loads/*"]
  }

  statement {
    # runtime/aws/leases.py: one merger at a time for each checkpoint.
    sid       = "MergerHoldsLeases"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["leases"]]
  }

  statement {
    # runtime/aws/checkpoints.py: the pointer to the version that counts, moved by compare-and-swap under a fencing token.
    sid = "MergerCommits"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:Query",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
    ]
    resources = [local.table_arns["checkpoints"]]
  }

  statement {
    # runtime/aws/occurrences.py: what is merged into which version.
    sid       = "MergerMarksRows"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem"]
    resources = [local.table_arns["occurrences"]]
  }

  statement {
    # runtime/aws/ledger.py: segments are merged, each once, in one transaction with the run's count; a restore is a run of
    # its own.
    sid       = "MergerSettlesInTheLedger"
    actions   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["ledger"]]
  }

  statement {
    # runtime/aws/watermarks.py: forward when a run balances, back when a checkpoint is restored.
    sid       = "MergerMovesWatermarks"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["watermarks"]]
  }

  statement {
    # use_case/publishing.py: groups of parts, to whichever merger has time.
    sid       = "MergerSharesLargeLoads"
    actions   = concat(["sqs:GetQueueUrl", "sqs:SendMessage"], local.batch_actions)
    resources = [local.queue_arns["write-parts"]]
  }

  statement {
    # runtime/aws/publishing.py: facts.
    sid       = "MergerAnnouncesFacts"
    actions   = ["sns:Publish"]
    resources = [local.topic_arns["pipeline-events"]]
  }

  statement {
    # runtime/aws/publishing.py looks the topic up by its name; listing knows no resources.
    sid       = "MergerFindsTheTopic"
    actions   = ["sns:ListTopics"]
    resources = ["*"]
  }
}
