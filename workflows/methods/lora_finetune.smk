# Direct fine-tuning, at the checkpoint that has hypernoise's validation reward: equal reward.
add_method(
    "lora_finetune",
    target="hypernoise.methods.lora_finetune:LoraFinetune",
    trains="lora_finetune",
    state="matched",
    version=1,
)
