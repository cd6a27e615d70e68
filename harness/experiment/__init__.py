"""What is asked for: declared components, config, plan, jobs and pins. Imports no torch."""
