"""The same face tracks as `faces.tracker` with dlib's detector gives, in a fraction of the time."""
