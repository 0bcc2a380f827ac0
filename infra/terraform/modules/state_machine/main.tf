# State machines that ask a chunk worker for what it does and wait for its answers. They hold no work of their own:
# every task is a message with a task token.

locals {
  machines = { for machine in var.state_machines : machine.name => machine }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:a month is what these logs are kept; the ledger is the record of what happened
  #checkov:skip=CKV_AWS_158:under the customer's key only where the stack has one
  for_each = local.machines

  # Step Functions keeps its resource policies short where the name starts like this.
  name              = "/aws/vendedlogs/states/${var.stack}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_sfn_state_machine" "this" {
  #checkov:skip=CKV_AWS_285:the data of executions stays out of the logs; Step Functions keeps the history itself
  for_each = local.machines

  name     = "${var.stack}-${each.key}"
  type     = "STANDARD"
  role_arn = aws_iam_role.this[each.key].arn

  definition = templatefile("${path.module}/${each.value.definition}", {
    queue_url = var.queues[each.value.queue].url
    pipeline  = each.value.pipeline
  })

  logging_configuration {
    # Failures only, and without data: inputs hold what a run is about, and Step Functions keeps its history itself.
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.this[each.key].arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  depends_on = [aws_iam_role_policy.this]
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    # Step Functions of this account only.
    sid     = "StatesAssumeTheirRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.machines

  name               = "${var.stack}-states-${each.key}"
  description        = "State machine of ${each.value.pipeline}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "this" {
  #checkov:skip=CKV_AWS_111:log delivery and X-Ray know no resources
  #checkov:skip=CKV_AWS_356:log delivery and X-Ray know no resources
  for_each = local.machines

  statement {
    # sqs:sendMessage.waitForTaskToken, the only thing the definitions do.
    sid       = "StatesSendCommands"
    actions   = ["sqs:SendMessage"]
    resources = [var.queues[each.value.queue].arn]
  }

  statement {
    # Step Functions manages the delivery of its logs with the machine's role; the actions know no resources.
    sid = "StatesDeliverTheirLogs"
    actions = [
      "logs:CreateLogDelivery",
      "logs:GetLogDelivery",
      "logs:UpdateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:DescribeResourcePolicies",
      "logs:DescribeLogGroups",
    ]
    resources = ["*"]
  }

  statement {
    # Tracing of the executions.
    sid       = "StatesTrace"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      # Sending to a queue under the customer's key takes the key.
      sid       = "StatesUseTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "this" {
  for_each = local.machines

  name   = "commands"
  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.this[each.key].json
}
