"""Judgement over results: intervals, paired tests, slices, selection, the ledger, tables made from it, model cards.

Modules here take plain values (per-query metrics and whose query each is) and give plain values. None prints; none
trains.
"""
