# Every image beside its rivals from the same noise, to be looked through: static HTML, a folder that
# can be moved as a whole.
add_table("gallery", target="harness.report.gallery:gallery", version=1)


rule gallery:
    input:
        **main_frames("images", "scores"),
    output:
        page="results/gallery/index.html",
        provenance="results/gallery/provenance.json",
        images=directory("results/gallery/images"),
    log:
        "results/logs/gallery.log",
    threads: 1
    params:
        job=table_job(
            "gallery",
            "results/gallery/index",
            main_frames("images", "scores"),
            models=config["models"],
            methods=config["methods"],
        ),
    message:
        "lay out the gallery"
    shell:
        "python -m harness gallery --job {params.job:q} 2>&1 | tee {log}"
