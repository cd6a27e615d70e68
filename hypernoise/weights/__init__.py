"""Where weights come from: the hub, pinned files, folders."""
