# What the planner may do: every statement names the code that needs it. No service deletes an object, an item or a bucket.
data "aws_iam_policy_document" "planner" {
  #checkov:skip=CKV_AWS_356:sns:ListTopics knows no resources

  statement {
    # use_case/listing.py: every version that lies in the source.
    sid       = "PlannerFindsUploads"
    actions   = ["s3:ListBucketVersions"]
    resources = local.raw_arns
  }

  statement {
    # runtime/aws/objects.py: without listing, S3 answers 403 where nothing is.
    sid       = "PlannerTellsMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = concat([local.bucket_arns["state"]], local.output_arns)
  }

  statement {
    # adapters/plans.py, runtime/chunking/plans.py: plans, previews and claimed lists, written once and read again after a crash.
    sid       = "PlannerKeepsPlans"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns["state"]}/plans/*"]
  }

  statement {
    # runtime/aws/leases.py: one planner at a time for each pipeline.
    sid       = "PlannerHoldsLeases"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["leases"]]
  }

  statement {
    # runtime/aws/ledger.py: opens runs, enters segments and chunks, reads how the runs before ended.
    sid = "PlannerWritesTheLedger"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:Query",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
    ]
    resources = [local.table_arns["ledger"]]
  }

  statement {
    # runtime/aws/watermarks.py: where a run starts, and where one without rows ends.
    sid       = "PlannerMovesWatermarks"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["watermarks"]]
  }

  statement {
    # runtime/aws/occurrences.py: what was merged or refused before.
    sid       = "PlannerFindsSettled"
    actions   = ["dynamodb:BatchGetItem"]
    resources = [local.table_arns["occurrences"]]
  }

  statement {
    # runtime/aws/checkpoints.py: which version of a checkpoint counts.
    sid       = "PlannerReadsHeads"
    actions   = ["dynamodb:GetItem"]
    resources = [local.table_arns["checkpoints"]]
  }

  statement {
    # runtime/aws/entity_schemas.py: the columns of an entity, once for each change.
    sid       = "PlannerRecordsSchemas"
    actions   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"]
    resources = [local.table_arns["schemas"]]
  }

  statement {
    # runtime/aws/budgets.py: requests a source allows, counted together with the fetchers.
    sid       = "PlannerSharesTheBudget"
    actions   = ["dynamodb:UpdateItem"]
    resources = [local.table_arns["budgets"]]
  }

  statement {
    # use_case/land.py, collect.py, scan.py, sweep.py, group.py, chunks.py: commands to the services, and to itself for the
    # entities of a group.
    sid     = "PlannerSendsCommands"
    actions = concat(["sqs:GetQueueUrl", "sqs:SendMessage"], local.batch_actions)
    resources = [
      local.queue_arns["plan-requests"],
      local.queue_arns["fetch-segments"],
      local.queue_arns["validate-objects"],
      local.queue_arns["merge-segments"],
      local.queue_arns["chunk-jobs"],
    ]
  }

  statement {
    # use_case/listing.py: whether a checkpoint is ahead of what was committed.
    sid       = "PlannerLooksAtCheckpoints"
    actions   = ["s3:GetObject"]
    resources = [for arn in local.checkpoint_arns : "${arn}/*"]
  }

  statement {
    # runtime/mirrors.py: the state mirror and the log of a run, in the bucket of the data itself.
    sid       = "PlannerShowsWatermarks"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = [for arn in local.table_file_arns : "${arn}/*"]
  }

  statement {
    # runtime/aws/publishing.py: facts.
    sid       = "PlannerAnnouncesFacts"
    actions   = ["sns:Publish"]
    resources = [local.topic_arns["pipeline-events"]]
  }

  statement {
    # runtime/aws/publishing.py looks the topic up by its name; listing knows no resources.
    sid       = "PlannerFindsTheTopic"
    actions   = ["sns:ListTopics"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(local.planner_secrets) > 0 ? [1] : []

    content {
      # runtime/aws/secrets.py: the databases and interfaces whose rows it counts and cuts.
      sid       = "PlannerReadsItsSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.planner_secrets
    }
  }
}
