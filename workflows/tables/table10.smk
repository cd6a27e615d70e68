# GenEval of fine-tuning with several LoRA ranks: the paper's table 10.
add_table(
    "table10",
    target="harness.analysis.paper_tables:geneval",
    selections=("few_steps", "ranks"),
    printed_as="table10",
    version=1,
)


rule table10:
    input:
        unpack(lambda w: frames_for("table10", "scores", "images")),
    output:
        **table_files("table10", what="GenEval of fine-tuning by LoRA rank"),
    log:
        "results/logs/tables/table10.log",
    threads: 1
    params:
        job=lambda w: runs_job("table10", "results/tables/table10", kind="lora_finetune"),
    message:
        "tabulate table 10"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
