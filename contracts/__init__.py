"""What crosses a boundary: messages, records, declarations and the topology. Pydantic only, no I/O, no clock."""
