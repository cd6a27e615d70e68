# How far images are from the generator's own of other noise.
add_table(
    "fidelity", target="harness.analysis.fidelity:fidelity", version=1,
    sets=("fidelity",), label="distances of images from the generator's own",
)
