"""The shared library of the services: ports, values and, in ``aws`` and ``shells``, their adapters."""
