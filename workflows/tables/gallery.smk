# Every image beside its rivals from the same noise, to be looked through: static HTML, a folder that
# can be moved as a whole.
add_table("gallery", target="harness.report.gallery:gallery", version=2, makes="gallery")
