"""The copies that an expanded set consists of: name their operators, or go back to particles."""
