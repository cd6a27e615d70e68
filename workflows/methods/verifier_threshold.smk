# Verifier-Threshold: a sampling step is left once its prediction earns a threshold, which is in units
# of the reward: other rewards need another one.
add_method(
    "verifier_threshold",
    target="hypernoise.methods.step_search:VerifierThreshold",
    n=50,
    threshold=0.0,
    eta=1.0,
    batch_size=64,
    needs_reward=True,
    version=1,
)
