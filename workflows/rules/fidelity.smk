# How far each method's images are from the base's own of other noise, in the config's feature networks.
rule fidelity_of_images:
    input:
        ask.files("compared"),
    output:
        places.DISTANCES,
    log:
        "results/logs/distances/{image_set}/{model}.log",
    # Where there is a GPU, threads but the first decode images ahead.
    threads: 4 if ask.gpus else 1
    resources:
        gpu=ask.gpus,
    params:
        **ask.job("fidelity"),
    message:
        "measure the fidelity of {wildcards.image_set} of {wildcards.model}"
    shell:
        "python -m harness fidelity --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
