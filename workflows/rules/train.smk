# A network is trained once per model and reward; methods that train alike share it.
rule train:
    input:
        ask.files("trained_by"),
    output:
        directory(places.TRAINING),
    log:
        "results/logs/training/{model}/{reward}/{training}.log",
    priority: 2
    threads: experiment.config.processes
    resources:
        **cluster.resources("train", ask.gpus * experiment.config.processes),
    params:
        **ask.job("train"),
        python=ask.launcher,
    message:
        "train {wildcards.training} on {wildcards.model} for {wildcards.reward}"
    shell:
        "{params.python} -m harness train --threads {threads} --job {params.job:q} 2>&1 | tee {log}"


# Fine-tuning at the checkpoint that has the noise network's validation reward.
rule match:
    input:
        **ask.trainings(),
    output:
        directory(places.MATCHED),
    log:
        "results/logs/matched/{model}/{reward}/{method}.log",
    priority: 2
    threads: 1
    resources:
        **cluster.resources("match", 0),
    params:
        **ask.job("match"),
    message:
        "match {wildcards.method} on {wildcards.model} to hypernoise at equal {wildcards.reward}"
    shell:
        "python -m harness match --job {params.job:q} 2>&1 | tee {log}"
