"""What a job does: train, generate, score, compare images, audit."""
