"""`mtrl serve`: a judge as a web server; `/v1/judge` and `/v1/reward` in front of vLLM's own server.

In: requests of anybody who reaches the port, so untrusted. Out: verdicts and rewards as JSON, an error as
{"error": {"message", "type", "code"}}. A part of the room `evaluate`: it imports what that may import.
"""
