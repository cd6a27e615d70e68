# How much the images of a prompt differ: the paper's table 7.
add_table(
    "table7", target="harness.analysis.diversity:table", version=1, sets=("diversity",),
    label="diversity of the images of a prompt",
)
