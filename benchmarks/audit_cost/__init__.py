"""What it costs that no answer leaves before its record is on disk."""
