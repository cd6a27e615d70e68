# The paper's toy reward, unscaled: in [-1, 1].
add_reward("redness", target="hypernoise.rewards.redness:Redness", version=1)
