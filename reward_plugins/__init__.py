"""Reward files that trainers load by path."""
