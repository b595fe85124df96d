"""Public corpora, a small file each: LABELS, CITATION, LICENCE and clips(root). docs/corpora.md says how to add one."""
