# FlowRBF: a budget for each sampling step, of which the rest rolls over; in all what Best-of-50 costs.
add_method(
    "rollover_budget",
    target="hypernoise.methods.step_search:RolloverBudget",
    n=50,
    eta=1.0,
    batch_size=64,
    needs_reward=True,
    version=1,
)
