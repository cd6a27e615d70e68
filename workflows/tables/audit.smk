# The KL of noise networks, term by term, over training steps.
add_table(
    "audit", target="harness.analysis.kl_table:kl_table", version=1, sets=("audit",),
    label="the KL of noise networks, term by term",
)
