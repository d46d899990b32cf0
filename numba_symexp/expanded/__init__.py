"""The expanded table: how it is laid out, written, and read."""
