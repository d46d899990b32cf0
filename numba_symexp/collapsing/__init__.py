"""The way back: from copies, all or some, to one row per particle."""
