# Direct fine-tuning after so many steps: its curve, where lora_finetune is a point on it.
for step in (10, 20, 30, 40, 60, 80, 100, 120, 150):
    add_method(
        f"lora_finetune_step_{step}",
        target="hypernoise.methods.lora_finetune:LoraFinetune",
        trains="lora_finetune",
        **{"checkpoint": step},
        version=1,
    )
