"""Train, resume, load, sample, reconstruct: the only place where the stages meet."""
