# Every method at multiples of the base's seconds, searches with the most work that fits.
add_table(
    "equal_seconds", target="harness.analysis.equal_seconds:equal_seconds", version=2,
    sets=("equal_seconds",), group="equal_seconds", label="every method at equal seconds",
)
# The same, drawn: a line joins the amounts of work of a method.
add_table(
    "equal_seconds_curve", target="harness.report.pareto:equal_seconds_curve", version=1,
    makes="figure", sets=("equal_seconds",), group="equal_seconds",
    label="quality of every method against seconds", caption="equal_seconds",
)
# Both with several sampling steps, for searches that work between them.
add_table(
    "equal_seconds_steps", target="harness.analysis.equal_seconds:equal_seconds", version=2,
    sets=("equal_seconds_steps",), group="equal_seconds_steps", label="equal seconds, several steps",
    caption="equal_seconds",
)
add_table(
    "equal_seconds_steps_curve", target="harness.report.pareto:equal_seconds_curve", version=1,
    makes="figure", sets=("equal_seconds_steps",), group="equal_seconds_steps",
    label="equal seconds, several steps", caption="equal_seconds",
)
