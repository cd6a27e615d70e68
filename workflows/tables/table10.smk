# GenEval of fine-tuning with several LoRA ranks: the paper's table 10.
add_table(
    "table10", target="harness.analysis.paper_tables:geneval", version=1,
    sets=("few_steps", "ranks"), trains="lora_finetune", printed_as="table10",
    label="GenEval of fine-tuning by LoRA rank",
)
