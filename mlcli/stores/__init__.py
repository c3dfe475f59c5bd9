"""Where runs, snapshots and downloads are kept on this machine."""
