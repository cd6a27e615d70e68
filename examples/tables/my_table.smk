# A table of one's own: how bright each method's images are, whatever was asked for.
add_table(
    "my_table",
    target="my_package.tables:means",
    label="the mean of every metric by method",
    version=1,
)
