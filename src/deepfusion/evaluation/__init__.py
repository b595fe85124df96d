"""Metrics, significance tests and SVM baselines, from predictions and features; independent of the networks."""
