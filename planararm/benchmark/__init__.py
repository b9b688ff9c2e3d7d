"""The benchmark: suites of tasks, rollouts, results, leaderboard and report."""
