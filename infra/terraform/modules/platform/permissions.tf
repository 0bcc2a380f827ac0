# The buckets and secrets that the policies of the services speak of.

locals {
  # AWS allows a batch of messages by the action for one; the emulator asks for an action that AWS does not have.
  batch_actions = var.emulated ? ["sqs:SendMessageBatch"] : []

  # Whose a task token is AWS sees, and the emulator does not.
  answered_arns = var.emulated ? ["*"] : local.state_machine_arns

  # Where sources lie: our own landing bucket, and one of somebody else's if there is one.
  raw_arns = concat([local.bucket_arns["raw"]], [for name in compact([var.event_log_bucket]) : "${local.arn}:s3:::${name}"])

  # Where tables of files lie, with state mirrors and logs of runs beside them. Entities land in S3_BUCKET_NAME if that is set.
  table_file_arns = concat(
    [local.bucket_arns["processed"]],
    [for name in compact([lookup(var.pipeline_variables, "S3_BUCKET_NAME", null)]) : "${local.arn}:s3:::${name}"],
  )

  # Where checkpoints lie. A request may name a bucket of its own.
  checkpoint_arns = concat(
    [local.bucket_arns["checkpoints"]],
    [for name in compact([var.checkpoint_bucket]) : "${local.arn}:s3:::${name}"],
  )
  output_arns = concat(local.table_file_arns, local.checkpoint_arns)

  fetcher_secrets = distinct([for name, arn in local.secret_arns : arn if contains(concat(keys(local.source_secrets), keys(local.token_secrets)), name)])
  job_secret_arns = distinct([for name, arn in local.secret_arns : arn if contains(keys(local.job_secrets), name)])
  planner_secrets = distinct(concat(local.fetcher_secrets, local.job_secret_arns))
}
