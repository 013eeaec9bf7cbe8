"""What metrics and collections stand on: states, statistics and how they are shared."""
