"""What a person reads at the end: tables, and what of a comparison of models is supported."""
