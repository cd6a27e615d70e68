# Images that another tool has made, as a method.
add_method(
    "their_images",
    target="harness.benchmarks.given_images:GivenImages",
    images="theirs/images",
    version=1,
)
