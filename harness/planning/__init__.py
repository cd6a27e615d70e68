"""What a run will take, before any of it starts: jobs, GPU hours, disk, downloads."""
