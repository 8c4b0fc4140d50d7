"""Scenelake: raw recordings of vehicles and robots in, a versioned scene lake out."""
