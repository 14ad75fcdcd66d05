"""The live service: HTTP around the engine, the log of what it answered, and the watch on what is in service."""
