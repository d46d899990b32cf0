"""Files of other programs, read as particle tables: CryoSPARC's .cs and RELION's .star."""
