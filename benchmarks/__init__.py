"""Speed as ratios within one run: against other libraries, the bare op and the read floor."""
