# What the chunk worker may do: every statement names the code that needs it. No service deletes an object, an item or a bucket.
data "aws_iam_policy_document" "chunk_worker" {
  #checkov:skip=CKV_AWS_356:sns:ListTopics knows no resources

  statement {
    # runtime/chunking/plans.py: the keys of its chunks; the action task_01 plans where no planner did.
    sid       = "ChunkWorkerReadsPlans"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns["state"]}/plans/*"]
  }

  statement {
    # runtime/aws/objects.py: without listing, S3 answers 403 where nothing is.
    sid       = "ChunkWorkerTellsMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns["state"]]
  }

  statement {
    # use_case/holding.py: one worker at a time for each chunk, under a fencing token.
    sid       = "ChunkWorkerHoldsLeases"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table_arns["leases"]]
  }

  statement {
    # runtime/aws/ledger.py: runs and chunks, from planned to done.
    sid = "ChunkWorkerSettlesInTheLedger"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:Query",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
    ]
    resources = [local.table_arns["ledger"]]
  }

  statement {
    # use_case/batch.py: a chunk that fails goes to the dead letters by its own hand, for its receives say nothing.
    sid       = "ChunkWorkerGivesUpChunks"
    actions   = concat(["sqs:GetQueueUrl", "sqs:SendMessage"], local.batch_actions)
    resources = ["${local.queue_arns["chunk-jobs"]}-dlq"]
  }

  statement {
    # adapters/answers.py: success, failure and heartbeats for the task token of a message.
    sid       = "ChunkWorkerAnswersStateMachines"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"]
    resources = local.answered_arns
  }

  statement {
    # runtime/aws/publishing.py: facts.
    sid       = "ChunkWorkerAnnouncesFacts"
    actions   = ["sns:Publish"]
    resources = [local.topic_arns["pipeline-events"]]
  }

  statement {
    # runtime/aws/publishing.py looks the topic up by its name; listing knows no resources.
    sid       = "ChunkWorkerFindsTheTopic"
    actions   = ["sns:ListTopics"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(local.job_secret_arns) > 0 ? [1] : []

    content {
      # runtime/postgres/access.py and the job's analytics: the databases that the jobs work in.
      sid       = "ChunkWorkerReadsItsSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.job_secret_arns
    }
  }
}
