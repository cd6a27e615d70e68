# HPSv2.1 of each style, where the config's benchmark is hpsv2.
add_table("hpsv2_styles", target="harness.analysis.hpsv2_styles:table", version=1)
