"""What the parts of a timed call are called, in frames of timings and their tables."""

from __future__ import annotations

TEXT = "text_encoding"
NOISE_NETWORK = "noise_network"
BACKBONE = "backbone"
VAE = "vae_decode"
REWARD = "reward"
BACKWARD = "backward"
#: The method's call, from noise and encoded prompts to images.
GENERATION = "generation"
#: From the prompts' texts to their images.
END_TO_END = "end_to_end"
#: What a call is made of, in order; they do not overlap.
STAGES = (TEXT, NOISE_NETWORK, BACKBONE, VAE, REWARD, BACKWARD)
#: A machine is steady while a fixed piece of work takes at most this share longer than at its best.
STEADY = 0.1
