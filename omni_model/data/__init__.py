"""From a manifest to samples: reading rows, checking them, decoding their files, and the data sets that come along."""
