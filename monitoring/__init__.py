"""Numbers in, judgements out: measures, comparisons, the gate, probation. A leaf that never touches the database."""
