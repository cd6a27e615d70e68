# GenEval and rewards against an argument: made for each image set that no table is called after.
add_table("sweep", target="harness.analysis.tables:sweep", version=1)
