"""What answers requests: vLLM in this process, vLLM replicas on Ray, an OpenAI endpoint. base.py is the interface.

In: Request. Out: Answer, in any order, with log-probabilities where asked.
May import: core, config, models, converters.readers, converters.pipeline.
"""
