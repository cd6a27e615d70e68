# The paper's toy reward, unscaled: in [-1, 1]; and once more under another name, for controls whose
# network must not have seen the prompts that the paper trains it on.
for name in ("redness", "redness_control"):
    add_reward(name, target="hypernoise.rewards.redness:Redness", version=1)
