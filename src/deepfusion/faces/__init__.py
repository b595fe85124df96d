"""Faces: detect them, follow one person through a clip, and cut aligned crops out of the frames."""
