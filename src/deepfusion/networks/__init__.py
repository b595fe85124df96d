"""Face networks: the catalogue, readers of weight files, and inference from crops to features."""
