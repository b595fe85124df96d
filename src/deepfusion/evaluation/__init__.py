"""Figures from predictions: metrics, significance, reference models. Knows predictions and features, no network."""
