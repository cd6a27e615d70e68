# A network is trained once per model and reward; methods that train alike share it.
rule train:
    input:
        lambda w: experiment.weight_files(w.model, w.reward, *experiment.metrics().values()),
    output:
        directory(TRAINING),
    log:
        "results/logs/training/{model}/{reward}/{training}.log",
    priority: 2
    threads: config["processes"]
    resources:
        gpu=gpus * config["processes"],
    params:
        python=launcher(config["processes"]),
        job=lambda w: to_json(
            experiment.train_job(**w, out=TRAINING.format(**w), work=work_folder("training", w))
        ),
    message:
        "train {wildcards.training} on {wildcards.model} for {wildcards.reward}"
    shell:
        "{params.python} -m harness train --threads {threads} --job {params.job:q} 2>&1 | tee {log}"


# Fine-tuning at the checkpoint that has the noise network's validation reward.
rule match:
    input:
        finetune=lambda w: matching(w).finetune,
        hypernoise=lambda w: matching(w).hypernoise,
    output:
        directory(MATCHED),
    log:
        "results/logs/matched/{model}/{reward}/{method}.log",
    priority: 2
    threads: 1
    params:
        job=lambda w: to_json(matching(w)),
    message:
        "match {wildcards.method} on {wildcards.model} to hypernoise at equal {wildcards.reward}"
    shell:
        "python -m harness match --job {params.job:q} 2>&1 | tee {log}"
