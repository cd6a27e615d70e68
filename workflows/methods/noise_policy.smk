# A noise network that is trained as a policy (after Noise PPO): its reward needs no gradient.
add_method(
    "noise_policy",
    target="hypernoise.methods.hypernoise:HyperNoise",
    trains="noise_policy",
    version=1,
)
