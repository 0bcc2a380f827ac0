data "aws_region" "current" {}

locals {
  region = data.aws_region.current.name

  widgets = [
    {
      title   = "Backlog"
      metrics = [for queue in values(var.queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name]]
      stat    = "Maximum"
    },
    {
      title   = "Age of the oldest message, seconds"
      metrics = [for queue in values(var.queues) : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name]]
      stat    = "Maximum"
    },
    {
      title   = "Dead letters"
      metrics = [for name in values(local.dead_letter_queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name]]
      stat    = "Maximum"
    },
    {
      title   = "Errors"
      metrics = [for function in values(var.functions) : ["AWS/Lambda", "Errors", "FunctionName", function.name]]
      stat    = "Sum"
    },
    {
      title   = "Duration, milliseconds"
      metrics = [for function in values(var.functions) : ["AWS/Lambda", "Duration", "FunctionName", function.name]]
      stat    = "Maximum"
    },
    {
      title   = "Concurrency"
      metrics = [for function in values(var.functions) : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", function.name]]
      stat    = "Maximum"
    },
    {
      title   = "Records in"
      metrics = [for pipeline in var.pipelines : ["Tidegate", "RowsIn", "stack", var.stack, "service", "validator", "pipeline", pipeline]]
      stat    = "Sum"
    },
    {
      title   = "Records judged bad"
      metrics = [for pipeline in var.pipelines : ["Tidegate", "EventsFailed", "stack", var.stack, "service", "validator", "pipeline", pipeline]]
      stat    = "Sum"
    },
    {
      title   = "Runs that succeeded"
      metrics = [for pipeline in var.scheduled_pipelines : [local.namespace, "${var.stack}-${pipeline}-succeeded"]]
      stat    = "Sum"
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.stack

  dashboard_body = jsonencode({
    widgets = [
      for number, widget in local.widgets : {
        type   = "metric"
        x      = 8 * (number % 3)
        y      = 6 * floor(number / 3)
        width  = 8
        height = 6
        properties = {
          title   = widget.title
          region  = local.region
          view    = "timeSeries"
          stat    = widget.stat
          period  = 300
          metrics = widget.metrics
        }
      }
    ]
  })
}
