# Glue tables from what `tidegate catalog` prints: their columns are declared or were recorded by loads, so nobody types
# them here. A table's parameters `tidegate.…` say what it is, and thereby which queries it gets.

locals {
  databases = { for catalog in var.catalogs : catalog.database => catalog.tables... }
  tables = merge([
    for database, parts in local.databases : {
      for table in flatten(parts) : "${database}/${table.Name}" => merge(table, { database = database })
    }
  ]...)

  partitioned = { for key, table in local.tables : key => table if length(table.PartitionKeys) > 0 }
  landed      = { for key, table in local.tables : key => table if lookup(table.Parameters, "tidegate.target", "bronze") == "bronze" }
  written     = { for key, table in local.tables : key => table if !contains(keys(local.landed), key) }
  collected   = { for key, table in local.written : key => table if contains(keys(table.Parameters), "tidegate.run_date") }

  # What tells one row from another: its key, or, where it has none, all of it.
  row_columns = {
    for key, table in local.written : key =>
    contains(keys(table.Parameters), "tidegate.unique_key") ? [table.Parameters["tidegate.unique_key"]] : table.StorageDescriptor.Columns[*].Name
  }
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
  for_each = local.partitioned

  name        = "${each.value.Name}: register partitions"
  description = "Finds the folders that loads have written since the last time"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name
  query       = "MSCK REPAIR TABLE `${each.value.Name}`"
}

resource "aws_athena_named_query" "counts" {
  for_each = local.landed

  name        = "${each.value.Name}: rows by load"
  description = "How many rows each load has brought"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/rows_by_load.sql", { table = each.value.Name })
}

resource "aws_athena_named_query" "duplicates" {
  for_each = local.landed

  name        = "${each.value.Name}: doubled versions"
  description = "Versions of a record that one run has landed more than once: there must be none"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/doubled_versions.sql", { table = each.value.Name })
}

resource "aws_athena_named_query" "files" {
  for_each = local.written

  name        = "${each.value.Name}: rows by file"
  description = "How many rows each object has, and from where to where; one that should not be there shows here"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/rows_by_file.sql", {
    table    = each.value.Name
    order_by = each.value.Parameters["tidegate.order_by"]
  })
}

resource "aws_athena_named_query" "doubled" {
  for_each = local.written

  name = "${each.value.Name}: doubled rows"
  description = (
    contains(keys(each.value.Parameters), "tidegate.unique_key")
    ? "Keys that more than one row has: there must be none"
    : "Rows that are alike in every column: there are as many as there were objects that say the same"
  )
  workgroup = aws_athena_workgroup.this.id
  database  = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/doubled_rows.sql", {
    table   = each.value.Name
    columns = join(", ", formatlist("%q", local.row_columns[each.key]))
  })
}

resource "aws_athena_named_query" "delays" {
  for_each = local.collected

  name        = "${each.value.Name}: rows by delay"
  description = "How many days lie between a row's cursor and the run that collected it: late rows, and those of a first run"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this[each.value.database].name

  query = templatefile("${path.module}/queries/rows_by_delay.sql", {
    table    = each.value.Name
    cursor   = each.value.Parameters["tidegate.cursor"]
    run_date = replace(each.value.Parameters["tidegate.run_date"], "'", "''")
  })
}
