"""The scenelake command."""
