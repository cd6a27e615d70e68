# Code, packages, machine, settings and hashes behind the results, as a page of the report.
add_table(
    "provenance", target="harness.report.provenance_page:origins", version=1, makes="page",
    frames=("images", "scores", "timings"), label="code, versions, machine, configuration, files",
)
