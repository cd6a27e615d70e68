# Every method's gain as a share of each search's: "half of what Best-of-50 gains".
add_table(
    "recovered_gain", target="harness.analysis.recovered_gain:recovered_gain", version=1,
    label="shares of the searches' gains",
)
