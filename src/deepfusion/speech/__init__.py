"""Pre-training of the audio encoder on emotional speech: read, compute spectrograms, train, measure, export."""
