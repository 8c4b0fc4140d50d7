"""A seeded, physically consistent drive simulator that writes recordings with a truth file."""
