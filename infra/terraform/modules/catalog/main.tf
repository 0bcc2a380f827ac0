# Glue tables from what `tidegate catalog` prints: the columns are those the loads recorded, so nobody types them here.

locals {
  databases = { for catalog in var.catalogs : catalog.database => catalog.tables }
  tables = merge([
    for database, tables in local.databases : { for table in tables : "${database}/${table.Name}" => merge(table, { database = database }) }
  ]...)
}

resource "aws_glue_catalog_database" "this" {
  for_each = local.databases

  name        = each.key
  description = "Tables of Tidegate stack ${var.stack}"
}

resource "aws_glue_catalog_table" "this" {
  for_each = local.tables

  name          = each.value.Name
  database_name = aws_glue_catalog_database.this[each.value.database].name
  description   = each.value.Description
  table_type    = each.value.TableType
  parameters    = each.value.Parameters

  dynamic "partition_keys" {
    for_each = each.value.PartitionKeys

    content {
      name = partition_keys.value.Name
      type = partition_keys.value.Type
    }
  }

  storage_descriptor {
    location      = each.value.StorageDescriptor.Location
    input_format  = each.value.StorageDescriptor.InputFormat
    output_format = each.value.StorageDescriptor.OutputFormat

    ser_de_info {
      serialization_library = each.value.StorageDescriptor.SerdeInfo.SerializationLibrary
      parameters            = each.value.StorageDescriptor.SerdeInfo.Parameters
    }

    dynamic "columns" {
      for_each = each.value.StorageDescriptor.Columns

      content {
        name    = columns.value.Name
        type    = columns.value.Type
        comment = try(columns.value.Comment, null)
      }
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.stack
  description   = "Queries on the tables of Tidegate stack ${var.stack}"
  force_destroy = true

  configuration {
    # A query's own settings could send its results, which are the data, anywhere.
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.bytes_scanned_limit

    result_configuration {
      output_location = "s3://${var.results_bucket}/"

      encryption_configuration {
        encryption_option = var.kms_key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

resource "aws_athena_named_query" "partitions" {
  for_each = local.tables

  name        = "${each.value.Name}: register partitions"
  description = "Finds the folders that loads have written since the last time"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name
  query       = "MSCK REPAIR TABLE `${each.value.Name}`"
}

resource "aws_athena_named_query" "counts" {
  for_each = local.tables

  name        = "${each.value.Name}: rows by load"
  description = "How many rows each load has brought"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/rows_by_load.sql", { table = each.value.Name })
}

resource "aws_athena_named_query" "duplicates" {
  for_each = local.tables

  name        = "${each.value.Name}: doubled versions"
  description = "Versions of a record that one run has landed more than once: there must be none"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/doubled_versions.sql", { table = each.value.Name })
}
