"""The demo: a synthetic suite of judging tasks and the tiny Qwen3-VL-MoE judge that `mtrl demo` trains on it."""
