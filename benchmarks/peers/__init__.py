"""The same work behind other servers, each in its best sensible configuration: one worker, batches of at most 32."""
