"""What the labeled copies say about each particle."""
