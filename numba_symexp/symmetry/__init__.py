"""Symmetry operators: point groups, helices, and how they are named."""
