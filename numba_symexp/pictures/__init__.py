"""Pictures and counts of viewing directions and shifts."""
