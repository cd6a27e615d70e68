"""What is on disk: frames and their schemas, provenance, resume, images."""
