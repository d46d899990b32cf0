"""Poses and shifts of one set of particles, put on the rows of another."""
