"""Measurements that a person runs and docs quote; nothing in the product imports them, and the wheel leaves them out."""
