# Networks of other LoRA ranks than the config's own, for the paper's tables 9 and 10. The ranks
# themselves are training options: a layer of the config for each of these names.
for rank in (2, 4, 8, 16, 32, 64):
    add_method(
        f"hypernoise_rank_{rank}",
        target="hypernoise.methods.hypernoise:HyperNoise",
        trains="hypernoise",
        version=1,
    )
    add_method(
        f"lora_finetune_rank_{rank}",
        target="hypernoise.methods.lora_finetune:LoraFinetune",
        trains="lora_finetune",
        version=1,
    )
