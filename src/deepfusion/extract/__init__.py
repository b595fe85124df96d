"""The first stages: clips of one block -> face tracks, face features and spectrograms, a shard each.

A bad clip is recorded with its reason and never stops or shifts the others. A shard that is there already with the same
key is kept as it is.
"""
