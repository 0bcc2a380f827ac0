"""The five services, the operator's console and the runtime they share."""
