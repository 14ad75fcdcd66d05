"""Queries, as plain functions over a session that the caller opened: `with database.write() as session: f(session)`.

A function that only reads takes a read or a write session; one that writes says so by taking `now`. Nothing commits.
Who changes the loop locks the row of `serving` first (`common.hold_the_loop`), so moves come one after the other and
locks are always taken in the same order.
"""
