"""The first stages: clips of one block -> face tracks, face features and spectrograms, one shard each.

A clip that cannot be processed is recorded with its reason and does not affect the others. An existing shard with the
same key is kept.
"""
