"""What the flows do, as plain functions: each takes a workspace, does one step, and leaves its result in the stores."""
