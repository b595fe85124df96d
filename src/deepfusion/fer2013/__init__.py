"""FER2013: 35,887 grey faces of 48x48 pixels and seven emotions, read from the formats in which it is distributed."""
