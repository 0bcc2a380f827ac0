# Services as long-poll workers on Fargate, for batches that outlast Lambda. The same use case runs in both shells; the
# worker extends the visibility of what it holds and gives it back on SIGTERM.

locals {
  on         = length(var.services) > 0
  task_names = { for service in keys(var.services) : service => "${var.stack}-${replace(service, "_", "-")}-worker" }

  # What Fargate offers, by cpu: an apply would find out only when everything else is made.
  memory_mb = {
    256   = [512, 1024, 2048]
    512   = range(1024, 4097, 1024)
    1024  = range(2048, 8193, 1024)
    2048  = range(4096, 16385, 1024)
    4096  = range(8192, 30721, 1024)
    8192  = range(16384, 61441, 4096)
    16384 = range(32768, 122881, 8192)
  }
}

data "aws_region" "current" {}

resource "aws_ecs_cluster" "this" {
  count = local.on ? 1 : 0

  name = var.stack

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:a month is what these logs are kept; the ledger is the record of what happened
  #checkov:skip=CKV_AWS_158:under the customer's key only where the stack has one
  for_each = var.services

  name              = "/aws/ecs/${local.task_names[each.key]}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached to the services below
  count = local.on ? 1 : 0

  name        = "${var.stack}-workers"
  description = "Tidegate workers: they call out, nobody calls them"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "this" {
  count = local.on ? 1 : 0

  security_group_id = aws_security_group.this[0].id
  description       = "AWS, the sources and the databases"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_336:workers spool segments in /tmp, as a user without rights who may write nowhere else
  for_each = var.services

  family                   = local.task_names[each.key]
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory_mb
  execution_role_arn       = aws_iam_role.execution[0].arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = upper(var.architecture)
  }

  ephemeral_storage {
    size_in_gib = each.value.ephemeral_storage_gib
  }

  container_definitions = jsonencode([{
    name  = each.key
    image = var.image
    # The image's entry point is Python; the command names the worker.
    command   = ["services.${each.key}.worker"]
    essential = true
    # Fargate waits two minutes at most; the worker gives back what it holds well before.
    stopTimeout = 120
    environment = [for name, value in merge({ POWERTOOLS_SERVICE_NAME = each.key }, var.environments[each.key]) : { name = name, value = value }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this[each.key].name
        "awslogs-region"        = data.aws_region.current.name
        "awslogs-stream-prefix" = "worker"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  for_each = var.services

  name                   = local.task_names[each.key]
  cluster                = aws_ecs_cluster.this[0].id
  task_definition        = aws_ecs_task_definition.this[each.key].arn
  desired_count          = each.value.tasks
  launch_type            = "FARGATE"
  enable_execute_command = false

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.this[0].id]
    assign_public_ip = false
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # The circuit breaker gives a first deployment up whose tasks may not pull, log, read or call yet.
  depends_on = [
    aws_iam_role_policy.service,
    aws_iam_role_policy.consume,
    aws_iam_role_policy_attachment.execution,
    aws_vpc_security_group_egress_rule.this,
  ]
}
