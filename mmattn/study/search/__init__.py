"""Search by Optuna, an extra, for the block, the sites and the options that give the highest metric."""
