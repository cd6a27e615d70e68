"""What the parts of a timed call are called, in frames of latencies and their tables."""

from __future__ import annotations

TEXT = "text_encoding"
NOISE_NETWORK = "noise_network"
BACKBONE = "backbone"
VAE = "vae_decode"
REWARD = "reward"
BACKWARD = "backward"
#: The method's call, from noise and encoded prompts to images: what table 1 times.
GENERATION = "generation"
#: From the prompt's text to its image.
END_TO_END = "end_to_end"
#: What a call is made of, in order; they do not overlap.
STAGES = (TEXT, NOISE_NETWORK, BACKBONE, VAE, REWARD, BACKWARD)
