"""Tasks of benchmarks that tables show in columns of their own."""

#: HPSv2's styles.
STYLES = ("anime", "concept-art", "paintings", "photo")
