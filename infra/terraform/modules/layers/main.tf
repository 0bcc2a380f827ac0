# Libraries, one layer each, so that a release of the code uploads kilobytes. A version is published when the content of
# its zip changes; earlier versions stay, because a function that is rolled back still needs them.
#
# The three ways a deployment can choose (see variables.tf): keep what is published while its content is the same,
# publish anew, or take versions that another stack has published and proven.

locals {
  own      = var.use_external_layer_arns ? {} : var.layers
  anew     = var.force_layer_update || !var.reuse_existing_layers
  external = { for arn in var.external_layer_arns : arn => split(":", arn)[6] }
}

resource "terraform_data" "publish" {
  # A time stands for "now": it differs from what any earlier apply has seen.
  input = local.anew ? plantimestamp() : "when the content changes"
}

resource "aws_s3_object" "layer" {
  for_each = local.own

  bucket      = var.bucket
  key         = each.value
  source      = "${var.packages_dir}/${each.value}"
  source_hash = filebase64sha256("${var.packages_dir}/${each.value}")
}

resource "aws_lambda_layer_version" "this" {
  for_each = local.own

  layer_name               = "${var.stack}-${each.key}"
  description              = "Libraries of ${var.stack}: ${each.key}"
  s3_bucket                = aws_s3_object.layer[each.key].bucket
  s3_key                   = aws_s3_object.layer[each.key].key
  s3_object_version        = aws_s3_object.layer[each.key].version_id
  source_code_hash         = filebase64sha256("${var.packages_dir}/${each.value}")
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
  skip_destroy             = var.keep_versions

  lifecycle {
    create_before_destroy = true
    replace_triggered_by  = [terraform_data.publish]
  }
}
