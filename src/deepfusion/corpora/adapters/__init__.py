"""Public corpora, a small file each: labels, citation, terms, owner, tree, clips(root). See docs/corpora.md to add one."""
