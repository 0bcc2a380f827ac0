# Metrics that the services write themselves (embedded metric format, namespace Tidegate, by stack, service and pipeline).
# CloudWatch adds nothing up over dimensions: an alarm must name all that a metric is written with, and no others.

resource "aws_cloudwatch_metric_alarm" "limit_reached" {
  for_each = toset(var.limited_pipelines)

  alarm_name          = "${var.stack}-${each.key}-limit-reached"
  alarm_description   = "A run of ${each.key} stopped at max_records. Nothing is lost, the next run goes on there; if it happens often, raise the limit or run more often"
  namespace           = "Tidegate"
  metric_name         = "LimitReached"
  dimensions          = { stack = var.stack, service = "planner", pipeline = each.key }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
}

resource "aws_cloudwatch_metric_alarm" "failed_records" {
  for_each = toset(var.pipelines)

  alarm_name          = "${var.stack}-${each.key}-failed-records"
  alarm_description   = "More than ${var.failed_max_percent} % of the records of ${each.key} were judged bad: look at them with `tidegate quarantine`"
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.failed_max_percent
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions

  metric_query {
    id          = "percent"
    expression  = "IF(received > 0, 100 * failed / received, 0)"
    label       = "bad records, percent"
    return_data = true
  }

  metric_query {
    id = "received"

    metric {
      namespace   = "Tidegate"
      metric_name = "RowsIn"
      dimensions  = { stack = var.stack, service = "validator", pipeline = each.key }
      stat        = "Sum"
      period      = 300
    }
  }

  metric_query {
    id = "failed"

    metric {
      namespace   = "Tidegate"
      metric_name = "EventsFailed"
      dimensions  = { stack = var.stack, service = "validator", pipeline = each.key }
      stat        = "Sum"
      period      = 300
    }
  }
}

# A watermark moves when a run succeeds, and whichever service settles the last segment says so. That a watermark stands
# still shows as silence, so silence is what this counts: a stack in which nothing runs at all alarms, too.
locals {
  namespace = "Tidegate/Runs"
  successes = {
    for pair in setproduct(keys(var.log_groups), var.scheduled_pipelines) : "${pair[0]}/${pair[1]}" => {
      log_group = var.log_groups[pair[0]]
      pipeline  = pair[1]
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "succeeded" {
  for_each = local.successes

  name           = "${var.stack}-${replace(each.key, "/", "-")}-succeeded"
  log_group_name = each.value.log_group
  # The entities of a group are pipelines of their own: GROUP.ENTITY.
  pattern = "{ $.event = \"run succeeded\" && ($.pipeline = \"${each.value.pipeline}\" || $.pipeline = \"${each.value.pipeline}.*\") }"

  metric_transformation {
    # A filter takes dimensions from fields of the line alone, and no line names its stack: so the metric's name does.
    namespace = local.namespace
    name      = "${var.stack}-${each.value.pipeline}-succeeded"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "watermark_age" {
  for_each = toset(var.scheduled_pipelines)

  alarm_name          = "${var.stack}-${each.key}-watermark-old"
  alarm_description   = "No run of ${each.key} has succeeded for ${lookup(var.watermark_max_age_hours, each.key, var.watermark_max_age_hours.default)} h: its watermark stands still"
  namespace           = local.namespace
  metric_name         = "${var.stack}-${each.key}-succeeded"
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = lookup(var.watermark_max_age_hours, each.key, var.watermark_max_age_hours.default)
  datapoints_to_alarm = lookup(var.watermark_max_age_hours, each.key, var.watermark_max_age_hours.default)
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
}
