"""Asking sources over HTTP: what every such source shares."""
