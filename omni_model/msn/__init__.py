"""MSN, the modality selection network: which modalities to look at when time or power is short. Imports no torch."""
