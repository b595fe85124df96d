"""Readers of other projects' weight files."""
