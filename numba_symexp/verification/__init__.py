"""Prove an expanded table: read it back and recompute it by another road."""
