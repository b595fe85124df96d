"""Face tracks like those of `faces.tracker` with dlib's detector, in a fraction of the time."""
