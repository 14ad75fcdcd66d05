"""The inference engine: from encoded bytes to answers, in batches that grow with the load. Knows no database."""
