# Closed sets: a misspelt name in a path is no rule's output.
wildcard_constraints:
    model="|".join(registry.models),
    reward="|".join([*registry.rewards, NO_REWARD]),
    method="|".join(registry.methods),
    training="|".join(name for name, spec in registry.methods.items() if spec.trains),
    benchmark="|".join(registry.benchmarks),
    selection="|".join(experiment.selections()),
    steps=r"[1-9]\d*",
