"""The embedded stack: emulator, provisioning and supervised workers on one machine."""
