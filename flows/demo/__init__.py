"""The whole loop on the embedded data set, told as a story that anyone can run."""
