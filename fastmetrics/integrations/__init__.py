"""Metrics in frameworks that do not know them: one module for each.

A framework is imported when one of the functions needs it, never before.
"""
