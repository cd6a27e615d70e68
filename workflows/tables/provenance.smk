# Code, packages, machine, settings and hashes behind the results, as a page of the report.
add_table("provenance", target="harness.report.provenance_page:origins", version=1)


rule provenance:
    input:
        **main_frames("images", "scores", "timings"),
    output:
        report(
            "results/tables/provenance.html",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"what": "code, versions, machine, configuration, files"},
        ),
    log:
        "results/logs/tables/provenance.log",
    threads: 1
    params:
        job=table_job(
            "provenance",
            "results/tables/provenance",
            main_frames("images", "scores", "timings"),
            config=config,
        ),
    message:
        "write down where results come from"
    shell:
        "python -m harness origins --job {params.job:q} 2>&1 | tee {log}"
