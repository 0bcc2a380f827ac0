# One service as a Lambda function: code, role, log group, and an event source mapping for each of its queues.

locals {
  # The function may work as long as the slowest of its queues allows; the queue's visibility is a multiple of that.
  timeout_s = max([for queue in values(var.queues) : queue.timeout_s]...)
  in_vpc    = length(var.vpc.subnet_ids) > 0
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:a month is what these logs are kept; the ledger is the record of what happened
  #checkov:skip=CKV_AWS_158:under the customer's key only where the stack has one
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_272:packages come from the stack's own bucket, which only the deployer may write; signing is a choice of the account
  #checkov:skip=CKV_AWS_116:the source is a queue, and the queue has the dead-letter queue
  #checkov:skip=CKV_AWS_117:a VPC only for services that need one; most talk to AWS and public sources alone
  #checkov:skip=CKV_AWS_115:maximum_concurrency of the queues bounds it without taking from the account's reserve
  #checkov:skip=CKV_AWS_173:no secret is in a variable; secrets are named and read from Secrets Manager
  function_name                  = var.name
  description                    = "Tidegate ${var.service}"
  role                           = aws_iam_role.this.arn
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  handler                        = var.handler
  s3_bucket                      = var.package.bucket
  s3_key                         = var.package.key
  s3_object_version              = var.package.version
  source_code_hash               = var.package.hash
  layers                         = var.layers
  timeout                        = local.timeout_s
  memory_size                    = var.memory_mb
  reserved_concurrent_executions = var.reserved_concurrency
  kms_key_arn                    = var.kms_key_arn

  ephemeral_storage {
    size = var.ephemeral_storage_mb
  }

  environment {
    variables = merge({ POWERTOOLS_SERVICE_NAME = var.service }, var.environment)
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this.name
    # Lines without a level, as embedded metrics are, count as INFO: above it Lambda would drop the metrics.
    application_log_level = var.log_level == "DEBUG" ? "DEBUG" : "INFO"
    system_log_level      = "WARN"
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [var.vpc] : []

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # Without them the first invocations would fail, and count as receives of the messages they were given.
  depends_on = [aws_iam_role_policy.base, aws_iam_role_policy.service]
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each = var.queues

  event_source_arn                   = each.value.arn
  function_name                      = aws_lambda_function.this.arn
  batch_size                         = each.value.batch_size
  maximum_batching_window_in_seconds = each.value.batch_window_s
  function_response_types            = ["ReportBatchItemFailures"]
  enabled                            = var.enabled

  scaling_config {
    maximum_concurrency = each.value.maximum_concurrency
  }

  depends_on = [var.after]
}
