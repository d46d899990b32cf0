"""How many sources the kernels take at a time; needs no compiler to be known."""

BLOCK = 64


def padded(count: int) -> int:
    """Length of an array that holds ``count`` sources in whole blocks."""
    return -(-count // BLOCK) * BLOCK
