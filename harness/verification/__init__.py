"""Whether what lies in a results folder is what was made, and follows from what it was made of."""
