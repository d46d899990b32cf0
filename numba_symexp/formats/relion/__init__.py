"""RELION's particle files (.star): read and write them."""
