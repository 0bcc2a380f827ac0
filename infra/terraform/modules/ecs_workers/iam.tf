data "aws_iam_policy_document" "trust" {
  statement {
    # ECS tasks, and nobody else, run as these roles.
    sid     = "TasksAssumeTheirRoles"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# ECS itself: pulls the image and writes the logs.
resource "aws_iam_role" "execution" {
  count = local.on ? 1 : 0

  name               = "${var.stack}-workers-execution"
  description        = "Starts Tidegate's workers"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  count = local.on ? 1 : 0

  role       = aws_iam_role.execution[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_partition" "current" {}

resource "aws_iam_role" "task" {
  for_each = var.services

  name               = local.task_names[each.key]
  description        = "Tidegate ${each.key}, as a worker"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "consume" {
  for_each = var.services

  statement {
    # runtime/shells/inbox.py: a worker receives, hides, deletes and gives back by itself.
    sid = "WorkerConsumesItsQueues"
    actions = [
      "sqs:GetQueueUrl",
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
    ]
    resources = var.queue_arns[each.key]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      # Objects, items and messages are under the customer's key.
      sid       = "WorkerUsesTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.other_key_arns) > 0 ? [var.other_key_arns] : []

    content {
      # Secrets and buckets of somebody else's may lie under keys of their own.
      sid       = "WorkerUsesOthersKeys"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role_policy" "consume" {
  for_each = var.services

  name   = "consume"
  role   = aws_iam_role.task[each.key].id
  policy = data.aws_iam_policy_document.consume[each.key].json
}

resource "aws_iam_role_policy" "service" {
  for_each = var.services

  name   = "service"
  role   = aws_iam_role.task[each.key].id
  policy = var.policies[each.key]
}
