"""What a person reads at the end; figures are computed elsewhere, here they are only set out."""
