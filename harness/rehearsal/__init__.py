"""A whole experiment with little work in it, and with stand-ins of all that is downloaded."""
