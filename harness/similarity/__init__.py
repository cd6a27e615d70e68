"""Comparisons of two images: a perceptual distance or a similarity, one module each."""
