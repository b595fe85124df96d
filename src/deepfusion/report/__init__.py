"""Reports for people: summaries, cost tables and HTML pages."""
