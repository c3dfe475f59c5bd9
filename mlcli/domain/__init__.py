"""Frozen values and total functions: the words that every other room speaks. No I/O."""
