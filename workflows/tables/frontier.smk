# The frontier of reward and fidelity: noise networks by the weight of their L2 term, and fine-tuning.
add_table(
    "frontier",
    target="harness.report.pareto:frontier",
    selections=("regularisation",),
    version=1,
)


rule frontier:
    input:
        unpack(lambda w: regularisation_inputs()),
    output:
        **figure_files("frontier", what="reward against fidelity", caption="regularisation"),
    log:
        "results/logs/figures/frontier.log",
    threads: 1
    params:
        job=lambda w: regularisation_job("frontier", "results/figures/frontier"),
    message:
        "draw the frontier of reward and fidelity"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
