# After Flash-BoN: drafts of one sampling step, of which the best four are drawn with all steps. With
# one step in all it is Best-of-N.
add_method(
    "drafted_best_of_n",
    target="hypernoise.methods.drafted:DraftedBestOfN",
    n=50,
    keep=4,
    draft_steps=1,
    batch_size=64,
    needs_reward=True,
    version=1,
)
