# What each judge shares with the reward beyond the benchmark's verdict.
add_table(
    "judges", target="harness.analysis.shared_knowledge:judges", version=2,
    label="what judge and reward share",
)
