"""Some rows of an expanded set, chosen by what they are."""
