"""Formats of other tools, a module each: `export(store, out, keys)`. Being here is all it takes."""
