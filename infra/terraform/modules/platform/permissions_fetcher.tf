# What the fetcher may do: every statement names the code that needs it. No service deletes an object, an item or a bucket.
data "aws_iam_policy_document" "fetcher" {
  #checkov:skip=CKV_AWS_356:sns:ListTopics knows no resources

  statement {
    # adapters/raw.py, adapters/landing_objects.py: one object a segment, if it is not there; else what is there is compared.
    sid       = "FetcherWritesRaw"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns["raw"]}/*"]
  }

  statement {
    # runtime/aws/objects.py: without listing, S3 answers 403 where nothing is.
    sid       = "FetcherTellsMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns["raw"]]
  }

  statement {
    # runtime/aws/ledger.py: a segment is fetched; runtime/completion.py: its run has failed, and its group's with it.
    sid       = "FetcherSettlesInTheLedger"
    actions   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
    resources = [local.table_arns["ledger"]]
  }

  statement {
    # runtime/aws/budgets.py: requests a source allows, counted together with the planner.
    sid       = "FetcherSharesTheBudget"
    actions   = ["dynamodb:UpdateItem"]
    resources = [local.table_arns["budgets"]]
  }

  statement {
    # runtime/mirrors.py: the log of a group's run, if it was an entity that failed here that ended it.
    sid       = "FetcherWritesRunLogs"
    actions   = ["s3:PutObject"]
    resources = [for arn in local.table_file_arns : "${arn}/*"]
  }

  statement {
    # runtime/aws/publishing.py: facts.
    sid       = "FetcherAnnouncesFacts"
    actions   = ["sns:Publish"]
    resources = [local.topic_arns["pipeline-events"]]
  }

  statement {
    # runtime/aws/publishing.py looks the topic up by its name; listing knows no resources.
    sid       = "FetcherFindsTheTopic"
    actions   = ["sns:ListTopics"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(local.fetcher_secrets) > 0 ? [1] : []

    content {
      # runtime/aws/secrets.py: the databases and interfaces it reads.
      sid       = "FetcherReadsItsSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.fetcher_secrets
    }
  }
}
