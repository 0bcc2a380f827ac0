"""What ``tidegate doctor`` looks at, one module a kind of resource. A check changes nothing."""
