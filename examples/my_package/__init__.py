"""Components of one's own, as a package beside the files that declare them."""
