# Every table, figure, gallery and page that workflows/tables declares, and a table of scores for
# every other image set, each a target of its name. What one needs it says by its function's
# parameters (harness/experiment/providers.py).
for table_name, table in ask.tables().items():

    rule:
        name:
            table_name
        input:
            unpack(ask.frames(table)),
        output:
            **rule_outputs(table, report, directory),
        log:
            f"{table.stem}.log".replace("results/", "results/logs/", 1),
        threads: 1
        resources:
            **cluster.of_table(table),
        params:
            **ask.table(table),
        message:
            f"make {table_name}: {table.label}"
        shell:
            "python -m harness table --job {params.job:q} 2>&1 | tee {log}"


# Tables and figures that are made together.
for group_name, group in ask.groups().items():

    rule:
        name:
            group_name
        input:
            group,
