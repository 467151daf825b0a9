"""Data only: recipes, presets, tasks and templates."""
