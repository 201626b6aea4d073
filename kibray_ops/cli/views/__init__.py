"""How a job's report looks in a terminal, where a plain table is not enough; named after the job's module."""
