module "layers" {
  source = "../layers"

  stack                   = var.stack
  layers                  = local.layers
  packages_dir            = local.packages_dir
  bucket                  = module.own_buckets.names["artifacts"]
  runtime                 = local.runtime
  architecture            = local.architecture
  reuse_existing_layers   = var.reuse_existing_layers
  use_external_layer_arns = var.use_external_layer_arns
  external_layer_arns     = var.external_layer_arns
  force_layer_update      = var.force_layer_update
}

resource "aws_s3_object" "code" {
  for_each = local.services

  bucket      = module.own_buckets.names["artifacts"]
  key         = "services/${each.key}.zip"
  source      = "${local.packages_dir}/${each.key}.zip"
  source_hash = filebase64sha256("${local.packages_dir}/${each.key}.zip")
}

locals {
  # The settings that config.py of every service reads; a service's own come on top (see var.settings).
  environment = merge(
    {
      TIDEGATE_STACK = var.stack
      LOG_LEVEL      = var.log_level
    },
    var.pipeline_variables,
    { for name, reference in var.secrets : name => reference },
  )

  socrata = { for name, value in { SOCRATA_APP_TOKEN = var.socrata_app_token } : name => value if value != "" }

  environments = {
    for service in local.services : service => merge(
      local.environment,
      service == "planner" ? { LOAD_TYPE = var.load_type } : {},
      contains(["planner", "fetcher"], service) ? local.socrata : {},
      lookup(var.settings, service, {}),
    )
  }

  policies = {
    planner      = data.aws_iam_policy_document.planner.json
    fetcher      = data.aws_iam_policy_document.fetcher.json
    validator    = data.aws_iam_policy_document.validator.json
    merger       = data.aws_iam_policy_document.merger.json
    chunk_worker = data.aws_iam_policy_document.chunk_worker.json
  }

  queues_of = {
    for service in local.services : service => {
      for name, queue in local.queues : name => {
        arn                 = module.queues[name].arn
        timeout_s           = queue.timeout_s
        batch_size          = queue.batch_size
        batch_window_s      = queue.batch_window_s
        maximum_concurrency = min(queue.maximum_concurrency, var.maximum_concurrency)
      } if queue.consumer == service
    }
  }
}

module "services" {
  source   = "../lambda_service"
  for_each = local.services

  name    = local.function_names[each.key]
  service = each.key
  handler = "services.${each.key}.handler.handler"
  package = {
    bucket  = aws_s3_object.code[each.key].bucket
    key     = aws_s3_object.code[each.key].key
    version = aws_s3_object.code[each.key].version_id
    hash    = filebase64sha256("${local.packages_dir}/${each.key}.zip")
  }
  layers               = [for layer in local.layers_of[each.key] : module.layers.arns[layer]]
  queues               = local.queues_of[each.key]
  policy_json          = local.policies[each.key]
  environment          = local.environments[each.key]
  log_level            = var.log_level
  log_retention_days   = var.log_retention_days
  memory_mb            = local.sizes[each.key].memory_mb
  ephemeral_storage_mb = local.sizes[each.key].ephemeral_storage_mb
  reserved_concurrency = local.sizes[each.key].reserved_concurrency
  runtime              = local.runtime
  architecture         = local.architecture
  enabled              = !contains(keys(var.ecs_workers.services), each.key)
  vpc                  = contains(var.vpc.services, each.key) ? { subnet_ids = var.vpc.subnet_ids, security_group_ids = var.vpc.security_group_ids } : { subnet_ids = [], security_group_ids = [] }
  kms_key_arn          = local.kms_key_arn
  other_key_arns       = var.other_key_arns
  emulated             = var.emulated

  # Reading a queue before the tables and buckets are there would only count receives.
  after = concat(values(module.tables.arns), values(module.buckets.arns))
}

locals {
  # Parquet wants memory; a segment that is fetched is spooled in /tmp, one file a lane.
  default_sizes = {
    planner      = { memory_mb = 1024, ephemeral_storage_mb = 512, reserved_concurrency = -1 }
    fetcher      = { memory_mb = 2048, ephemeral_storage_mb = 4096, reserved_concurrency = -1 }
    validator    = { memory_mb = 2048, ephemeral_storage_mb = 512, reserved_concurrency = -1 }
    merger       = { memory_mb = 3008, ephemeral_storage_mb = 2048, reserved_concurrency = -1 }
    chunk_worker = { memory_mb = 1024, ephemeral_storage_mb = 512, reserved_concurrency = -1 }
  }
  sizes = {
    for service in local.services : service => {
      for name, value in local.default_sizes[service] : name => coalesce(try(var.sizes[service][name], null), value)
    }
  }
}

module "ecs_workers" {
  source = "../ecs_workers"

  stack      = var.stack
  services   = var.ecs_workers.services
  image      = var.ecs_workers.image
  subnet_ids = var.ecs_workers.subnet_ids
  vpc_id     = var.ecs_workers.vpc_id

  policies           = local.policies
  environments       = local.environments
  queue_arns         = { for service in local.services : service => [for queue in values(local.queues_of[service]) : queue.arn] }
  architecture       = local.architecture
  log_retention_days = var.log_retention_days
  kms_key_arn        = local.kms_key_arn
  other_key_arns     = var.other_key_arns
}
