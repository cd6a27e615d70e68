# Sweeps of the config: a table each, made on demand under the sweep's name.
rule sweep:
    input:
        lambda w: expand(SCORES, selection=w.sweep, model=config["models"]),
    output:
        **table_files("{sweep}"),
    log:
        "results/logs/tables/{sweep}.log",
    wildcard_constraints:
        sweep="|".join(config["sweeps"]),
    threads: 1
    params:
        job=lambda w: sweep_job(w.sweep),
    message:
        "tabulate {wildcards.sweep}"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"


for sweep_name in config["sweeps"]:

    rule:
        name:
            sweep_name
        input:
            f"results/tables/{sweep_name}.md",


# The comparison of methods beyond `rule all`.
rule compare:
    input:
        expand("results/tables/{table}.html", table=["methods", "warm_start", "search_budgets"]),
        expand("results/figures/{figure}.png", figure=["curves", "pareto_methods"]),
