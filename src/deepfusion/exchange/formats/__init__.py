"""Formats of other tools, one module each, with `export(store, out, keys)`; no registration is needed."""
