# Prompt optimisation (MILS) by small edits in the embedded world's own grammar: 1 + 5 x 10 images.
add_method(
    "prompt_search",
    target="hypernoise.methods.rewording:grammar_search",
    proposals=5,
    rounds=10,
    needs_reward=True,
    version=1,
)
