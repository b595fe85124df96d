"""Public corpora, a small file each: labels, citation, terms, owner, tree, clips(root). To add one: docs/corpora.md."""
