# The KL of noise networks, term by term, over training steps and weights of the L2 term.
add_table(
    "audit_regularisation",
    target="harness.analysis.kl_table:kl_table",
    selections=("regularisation",),
    version=1,
)


rule audit_regularisation:
    input:
        audits=lambda w: audit_frames(**regularised_networks()),
    output:
        **table_files(
            "audit_regularisation", what="the KL of noise networks by weight of the L2 term"
        ),
    log:
        "results/logs/tables/audit_regularisation.log",
    threads: 1
    params:
        job=lambda w: audit_table_job("audit_regularisation", **regularised_networks()),
    message:
        "tabulate the audit of weights of the L2 term"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
