"""The expansion job: plan, stream, write, publish."""
