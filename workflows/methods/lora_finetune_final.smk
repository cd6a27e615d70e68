# Direct fine-tuning at the end of the same training: what trusting the reward does.
add_method(
    "lora_finetune_final",
    target="hypernoise.methods.lora_finetune:LoraFinetune",
    trains="lora_finetune",
    state="final",
    version=1,
)
