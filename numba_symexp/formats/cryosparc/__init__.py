"""CryoSPARC's datasets (.cs) and result groups (.csg): read and write them."""
