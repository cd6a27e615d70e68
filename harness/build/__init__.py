"""From a declaration to the live object: check and build side by side."""
