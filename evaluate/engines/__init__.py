"""What answers requests: vLLM in this process, vLLM replicas on Ray, an OpenAI endpoint. base.py has the interface.

In: Request. Out: Answer, in any order, with log-probabilities where they were asked for.
May import: core, config, models, converters.readers, converters.pipeline.
"""
