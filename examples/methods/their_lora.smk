# An adapter that one has, as a method: the folder of a LoRA, a file, or owner/name@COMMIT of the hub.
add_method(
    "their_lora",
    target="hypernoise.methods.given_adapter:GivenAdapter",
    weights="theirs/lora",
    version=1,
)
