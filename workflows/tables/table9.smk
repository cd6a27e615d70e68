# GenEval of noise networks of several LoRA ranks: the paper's table 9.
add_table(
    "table9", target="harness.analysis.paper_tables:geneval", version=1,
    sets=("few_steps", "ranks"), trains="hypernoise", printed_as="table9",
    label="GenEval of noise networks by LoRA rank",
)
