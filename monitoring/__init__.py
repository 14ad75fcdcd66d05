"""Numbers in, judgements out: measurements, comparisons, gates, sequential tests. A leaf that never touches the database."""
