# GenEval and rewards against a hyper-parameter: made for each of the config's sweeps.
add_table("sweep", target="harness.analysis.tables:sweep", version=1)
