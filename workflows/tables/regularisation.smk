# What the weight of the L2 term buys and costs, beside fine-tuning's checkpoints.
add_table(
    "regularisation",
    target="harness.analysis.regularisation:regularisation",
    selections=("regularisation",),
    version=1,
)


rule regularisation_table:
    input:
        unpack(lambda w: regularisation_inputs()),
    output:
        **table_files("regularisation", what="weights of the L2 term"),
    log:
        "results/logs/tables/regularisation.log",
    threads: 1
    params:
        job=lambda w: regularisation_job("regularisation", "results/tables/regularisation"),
    message:
        "tabulate weights of the L2 term"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"


rule regularisation:
    input:
        rules.regularisation_table.output,
        "results/figures/frontier.png",
