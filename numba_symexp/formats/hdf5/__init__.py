"""Particle tables in HDF5: read them, and write them safely."""
