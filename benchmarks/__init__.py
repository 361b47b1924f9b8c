"""pass@k at equal cost: runs, replays, reports, and speed."""
