data "aws_iam_policy_document" "trust" {
  statement {
    # Lambda, and nobody else, runs as this role.
    sid     = "LambdaAssumesTheService"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = "Tidegate ${var.service}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

# What every function needs, whatever it does.
data "aws_iam_policy_document" "base" {
  #checkov:skip=CKV_AWS_111:X-Ray and the network interfaces of a VPC know no resources
  #checkov:skip=CKV_AWS_356:X-Ray and the network interfaces of a VPC know no resources

  statement {
    # The event source mapping receives, deletes and looks at its queues with the function's role.
    sid       = "FunctionConsumesItsQueues"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [for queue in values(var.queues) : queue.arn]
  }

  statement {
    # runtime/shells/returning.py: a failed message comes again after its delay, not after the visibility timeout.
    sid       = "FunctionGivesMessagesBack"
    actions   = concat(["sqs:GetQueueUrl", "sqs:ChangeMessageVisibility"], var.emulated ? ["sqs:ChangeMessageVisibilityBatch"] : [])
    resources = [for queue in values(var.queues) : queue.arn]
  }

  statement {
    # structlog and EMF write to standard streams; Lambda carries them into the function's own group.
    sid       = "FunctionWritesItsLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  statement {
    # Active tracing, and the subsegments of runtime/aws/telemetry.py.
    sid       = "FunctionTraces"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = local.in_vpc ? [1] : []

    content {
      # Lambda makes the network interfaces of the VPC with the function's role; these actions know no resources.
      sid = "FunctionEntersItsVpc"
      actions = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      # Objects, items, messages and variables are under the customer's key.
      sid       = "FunctionUsesTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.other_key_arns) > 0 ? [var.other_key_arns] : []

    content {
      # Secrets and buckets of somebody else's may lie under keys of their own.
      sid       = "FunctionUsesOthersKeys"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role_policy" "base" {
  name   = "base"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.base.json
}

resource "aws_iam_role_policy" "service" {
  name   = "service"
  role   = aws_iam_role.this.id
  policy = var.policy_json
}
