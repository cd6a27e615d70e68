# Base and noise network from the same noises, on one of the config's first three models each: the
# paper's figures 5 to 7.
for number in (5, 6, 7):
    add_table(
        f"figure{number}",
        target="harness.report.grids:side_by_side",
        version=1,
        prompts_per_task=2,
    )


for place, ordinal in enumerate(["first", "second", "third"]):

    rule:
        name:
            f"figure{5 + place}"
        input:
            unpack(lambda w, n=place: frames_of_model(nth_model(f"figure{5 + n}", n))),
        output:
            **figure_files(
                f"figure{5 + place}",
                "figure5_to_7",
                SAME_NOISE,
                what=f"figure {5 + place}: the {ordinal} model",
            ),
        log:
            f"results/logs/figures/figure{5 + place}.log",
        threads: 1
        params:
            model=lambda w, n=place: nth_model(f"figure{5 + n}", n),
            job=lambda w, n=place: noises_job(f"figure{5 + n}", n),
        message:
            f"draw figure{5 + place}"
        shell:
            "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
