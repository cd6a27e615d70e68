# Direct fine-tuning as its training keeps it: the last checkpoint, or the best validated one.
add_method(
    "lora_finetune_final",
    target="hypernoise.methods.lora_finetune:LoraFinetune",
    trains="lora_finetune",
    state="final",
    version=1,
)
