"""The jobs, one file for each and nothing else."""
