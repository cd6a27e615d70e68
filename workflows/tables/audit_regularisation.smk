# The KL of noise networks, term by term, over training steps and weights of the L2 term.
add_table(
    "audit_regularisation", target="harness.analysis.kl_table:kl_table", version=1,
    sets=("regularisation",), label="the KL of noise networks by weight of the L2 term",
)
