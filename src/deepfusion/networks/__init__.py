"""Face networks: which there are, how their weights are read, how crops become features."""
