"""From one program's particle table to another's."""
