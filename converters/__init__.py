"""From release files to samples, and from samples to the files that trainers read."""
