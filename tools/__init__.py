"""Tools for developers of this project; they are not installed."""
