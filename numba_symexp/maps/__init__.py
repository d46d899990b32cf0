"""Density maps: whether a map has a symmetry, in which orientation, and about which point."""
