"""Web pages over the database and the judgements of monitoring."""
