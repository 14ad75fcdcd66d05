"""Alerts: rules as data, what they find, and who is told when. Numbers in, judgements out; nothing is stored here."""
