"""Particle tables in HDF5: layouts, columns, checks of every row."""
