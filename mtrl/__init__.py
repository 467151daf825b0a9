"""mtrl trains and scores multimodal judges; see README.md. Importing this imports nothing else."""

__version__ = "0.1.0"
