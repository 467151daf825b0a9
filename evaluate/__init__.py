"""From a checkpoint to verdicts, from verdicts to numbers."""
