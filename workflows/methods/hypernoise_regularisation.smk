# Noise networks under other weights of the L2 term, for `snakemake regularisation`: its reduction and
# the reward's temperature, which the config's training layers of the same names set.
for l2_reduction, temperatures in {
    "sum": ("0_001", "0_01", "0_1", "1", "10"),
    "mean": ("0_1", "1", "10", "100", "1000"),
}.items():
    for temperature in temperatures:
        add_method(
            f"hypernoise_alpha_{l2_reduction}_{temperature}",
            target="hypernoise.methods.hypernoise:HyperNoise",
            trains="hypernoise",
            version=1,
        )
