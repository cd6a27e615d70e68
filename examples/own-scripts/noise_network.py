"""A trained noise network in a script of diffusers; run it in the checkout, after `make run`."""

import torch
from hypernoise import NoiseNetwork
from diffusers import StableDiffusionPipeline

base = "hypernoise/shapeworld/weights/tiny_sd"
pipe = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32)
noise_network = NoiseNetwork.from_pretrained(pipe, "results/training/tiny_sd/matcher/hypernoise")
prompts = ["a photo of a red circle", "a photo of two blue moons"]
g = torch.Generator().manual_seed(0)
latents = noise_network(prompts, num_images_per_prompt=2, generator=g)
few_step = {"num_inference_steps": 1, "guidance_scale": 0.0, "height": 32, "width": 32}
images = pipe(prompt=prompts, num_images_per_prompt=2, latents=latents, **few_step).images
