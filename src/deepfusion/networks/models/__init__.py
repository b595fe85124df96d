"""One module per network: its architecture."""
