# A benchmark of one's own: prompts for light and for dark, and a metric of its own.
add_benchmark(
    "my_benchmark",
    target="my_package.benchmark:Brightness",
    metric="as_bright_as_asked",
    n_images=4,
    version=1,
)
