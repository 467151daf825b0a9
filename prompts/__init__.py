"""Data only: prompt templates."""
