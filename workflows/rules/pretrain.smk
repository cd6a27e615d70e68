# The embedded world's own weights, from nothing. What ships was made by these rules; they write
# elsewhere unless the config's `pretrain: folder` says otherwise.
PRETRAINED = experiment.config.pretrain.folder


rule pretrain_generator:
    output:
        directory(f"{PRETRAINED}/{{model}}"),
    log:
        "results/logs/pretrained/{model}.log",
    threads: 1
    resources:
        **cluster.resources("pretrain", ask.gpus),
    params:
        **ask.job("pretrain"),
    message:
        "pretrain {wildcards.model}"
    shell:
        "python -m harness pretrain --threads {threads} --job {params.job:q} 2>&1 | tee {log}"


rule pretrain_matcher:
    input:
        ask.files("taught_by"),
    output:
        f"{PRETRAINED}/{{reward}}.safetensors",
    log:
        "results/logs/pretrained/{reward}.log",
    threads: 1
    resources:
        **cluster.resources("pretrain", ask.gpus),
    params:
        **ask.job("pretrain"),
    message:
        "pretrain {wildcards.reward}"
    shell:
        "python -m harness pretrain --threads {threads} --job {params.job:q} 2>&1 | tee {log}"


rule pretrain:
    input:
        expand(rules.pretrain_generator.output, model=experiment.config.pretrain.generators),
        expand(
            rules.pretrain_matcher.output,
            reward=(*experiment.config.pretrain.matchers, *experiment.config.pretrain.judges),
        ),
