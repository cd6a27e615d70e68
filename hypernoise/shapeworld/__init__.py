"""The embedded world: captioned images of coloured shapes, small enough for a CPU."""
