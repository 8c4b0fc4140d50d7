"""Container formats: bounded readers that deliver messages in file order and report what they could not read."""
