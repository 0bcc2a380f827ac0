# Everything that is declared elsewhere and only read here: the topology, the packages, the pipelines. A queue, a table,
# a schedule or a pipeline that is added there appears here with the next plan.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  project  = coalesce(var.project_dir, "${path.module}/../../../..")
  topology = jsondecode(file("${local.project}/contracts/schemas/topology.json"))

  queues   = { for queue in local.topology.queues : queue.name => queue }
  buckets  = { for bucket in local.topology.buckets : bucket.name => bucket }
  services = toset(local.topology.queues[*].consumer)

  # AWS writes names with hyphens, Python modules with underscores.
  function_names = { for service in local.services : service => "${var.stack}-${replace(service, "_", "-")}" }

  # A deployed name is {stack}-{name}, so an ARN is known before its resource is there: no dependency runs in a circle.
  suffix = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  arn    = "arn:${data.aws_partition.current.partition}"
  bucket_arns = {
    for bucket in local.topology.buckets : bucket.name => "${local.arn}:s3:::${var.stack}-${bucket.name}"
  }
  table_arns = {
    for table in local.topology.tables : table.name => "${local.arn}:dynamodb:${local.suffix}:table/${var.stack}-${table.name}"
  }
  queue_arns = {
    for name in keys(local.queues) : name => "${local.arn}:sqs:${local.suffix}:${var.stack}-${name}"
  }
  topic_arns = {
    for topic in local.topology.topics : topic.name => "${local.arn}:sns:${local.suffix}:${var.stack}-${topic.name}"
  }
  state_machine_arns = [
    for machine in local.topology.state_machines : "${local.arn}:states:${local.suffix}:stateMachine:${var.stack}-${machine.name}"
  ]
}

# What `make package` built, by its own account (docs/packages.md): which layers a service has, and for which Python and
# processor everything was built.
locals {
  packages_dir = coalesce(var.packages_dir, "${local.project}/dist")
  packages     = jsondecode(file("${local.packages_dir}/sizes.json"))
  runtime      = "python${local.packages.python}"
  architecture = local.packages.architecture

  layers_of = {
    for service in local.services : service => concat(
      local.packages.functions[service].layers,
      [for layer in local.packages.functions[service].optional_layers : layer if contains(var.optional_layers, layer)],
    )
  }
  layers = { for layer in distinct(flatten(values(local.layers_of))) : layer => "layers/${layer}.zip" }
}

# What the pipelines' declarations say of themselves. Terraform reads no TOML; these three things stand on lines of
# their own, and a test compares what is found here with what the services read.
locals {
  pipeline_files = { for path in fileset("${local.project}/pipelines", "*.toml") : path => file("${local.project}/pipelines/${path}") }
  job_files      = { for path in fileset("${local.project}/pipelines", "*/job.toml") : path => file("${local.project}/pipelines/${path}") }

  entities = {
    for path, text in local.pipeline_files : regex("(?m)^name = \"([a-z0-9_]+)\"", text)[0] => flatten(regexall("(?m)^\\[entities\\.([a-z0-9_]+)\\]", text))
  }
  pipelines = flatten([
    for name, entities in local.entities : length(entities) == 0 ? [name] : [for entity in entities : "${name}.${entity}"]
  ])
  limited_pipelines = [
    for path, text in local.pipeline_files : regex("(?m)^name = \"([a-z0-9_]+)\"", text)[0] if can(regex("(?m)^max_records = ", text))
  ]

  # ${NAME} or ${NAME:-default} after "secret =": the secrets that planner and fetcher, or planner and chunk worker read.
  source_secrets = merge([for text in values(local.pipeline_files) : { for found in regexall("(?m)^secret = \"\\$\\{([A-Z0-9_]+)(?::-([^}]*))?\\}\"", text) : found[0] => found[1] }]...)
  job_secrets    = merge([for text in values(local.job_files) : { for found in regexall("(?m)^secret = \"\\$\\{([A-Z0-9_]+)(?::-([^}]*))?\\}\"", text) : found[0] => found[1] }]...)
}

# Secrets as ARNs. A name stands for every secret of that name: Secrets Manager puts six characters behind it.
locals {
  token_secrets = startswith(var.socrata_app_token, "secretsmanager:") ? { SOCRATA_APP_TOKEN = trimprefix(var.socrata_app_token, "secretsmanager:") } : {}

  secret_references = merge(local.source_secrets, local.job_secrets, var.secrets, local.token_secrets)
  secret_arns = {
    for name, reference in local.secret_references : name => (
      startswith(reference, "arn:") ? reference : "${local.arn}:secretsmanager:${local.suffix}:secret:${reference}-??????"
    ) if reference != null && reference != ""
  }
}
