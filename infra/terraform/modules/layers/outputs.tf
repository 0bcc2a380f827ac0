output "arns" {
  description = "The version of each layer that functions use."
  value = var.use_external_layer_arns ? {
    for layer in keys(var.layers) : layer => one([
      for arn, name in local.external : arn if can(regex("(^|-)${layer}$", name))
    ])
    } : {
    for layer, version in aws_lambda_layer_version.this : layer => version.arn
  }
}
