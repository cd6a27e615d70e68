"""What is trained: noise networks and fine-tuners, their LoRA and their merged forms."""
